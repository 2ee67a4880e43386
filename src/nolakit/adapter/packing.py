"""An adapter as the bytes of one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from nolakit.adapter import module_names
from nolakit.adapter.container import DESCRIPTION, DIGEST, write_container
from nolakit.adapter.contents import COEFFICIENTS, TORCH_NAMES, Adapter, ModuleInfo
from nolakit.adapter.files import open_adapter
from nolakit.adapter.packed import SCALES
from nolakit.adapter.packed_numbers import DTYPES, Numbers, encode
from nolakit.adapter.quantise import LARGEST, quantise, trained_bits
from nolakit.adapter.unpacking import VERSION
from nolakit.basis.integers import Integers
from nolakit.errors import AdapterError, ConfigError
from nolakit.methods.site import ROLES, Role

# Of `training.json`: what a task needs to evaluate, without the paths of the machine that trained.
RECORD_KEPT = ("format", "settings", "columns", "labels", "max_length", "metrics", "trained", "trained_head")
SETTINGS_LEFT_OUT = ("data", "eval_data", "output")


def pack(adapter: str | Path | Adapter, bits: int = 32) -> bytes:
    """All of an adapter as the bytes of one safetensors file, see `nolakit.adapter.packed`.

    Args:
        adapter: an adapter folder or a packed file, or what `open_adapter` made of it.
        bits: of a coefficient. 32 loses nothing, 16 is float16, 8 and 4 are integers with a scale a factor. An
            adapter that was trained with fewer `coefficient_bits` keeps those, and loses nothing.

    Returns:
        The same bytes for the same adapter and bits. `nolakit.write_packed` writes them to a file.

    Raises:
        AdapterError: an adapter that cannot be read, or a coefficient that is not finite or too large for float16.
        ConfigError: other bits. UnsupportedError: an adapter of another method than nolakit's.
    """
    if bits not in DTYPES:
        raise ConfigError(f"found {bits!r} bits; expected one of {', '.join(map(str, DTYPES))}")
    source = adapter if isinstance(adapter, Adapter) else open_adapter(adapter)
    source.check_computed()
    by_path = _modules(source)
    patterns = module_names.compress(by_path)
    ordered = [by_path[path] for path in module_names.expand_names(patterns)]
    layout = source.layout
    counts = layout.counts([module.site for module in ordered])
    stored: dict[Role, tuple[list[torch.Tensor], torch.Tensor]] = {
        role: _stored(source, ordered, [each[role] for each in counts], role, bits) for role in ROLES
    }
    numbers: Numbers = {role: [part.numpy() for part in rows] for role, (rows, _) in stored.items()}
    tensors = {COEFFICIENTS: torch.from_numpy(encode(numbers, bits))}
    if bits <= 8:
        tensors[SCALES] = torch.stack([scales for _, scales in stored.values()], dim=1)
    with source.open_tensors() as file:
        for key in source.other_tensors() | source.part_tensors():
            if key in (COEFFICIENTS, SCALES, DESCRIPTION, DIGEST):
                raise AdapterError(
                    f"found a tensor named {key!r} in {source.name!r}, a name of the packed format"
                )
            if source.tensors[key].dtype not in TORCH_NAMES:
                raise AdapterError(
                    f"found {key!r} of dtype {source.tensors[key].dtype} in {source.name!r}; the packed format has "
                    f"{', '.join(TORCH_NAMES)}"
                )
            tensors[key] = file.get_tensor(key).contiguous()
    description = {
        "version": VERSION,
        "bits": bits,
        "modules": patterns,
        "counts": layout.each or {role: sum(each[role] for each in counts) for role in ROLES},
        **_dtype(by_path, bits),
        "config": source.config,
        **({"training": kept_record(source.record)} if source.record else {}),
    }
    return write_container(description, tensors)


def _modules(source: Adapter) -> dict[str, ModuleInfo]:
    """The modules by path. Raises AdapterError where two are one, or coefficients are not of one dtype."""
    modules = source.checked_modules()
    by_path = {module.path: module for module in modules}
    dtypes = {info.dtype for module in modules for info in module.coefficients.values()}
    if len(by_path) < len(modules) or len(dtypes) > 1 or not dtypes <= {"F32", "F16", "BF16"}:
        raise AdapterError(
            f"found {len(modules)} modules on {len(by_path)} paths in {source.name!r}, with coefficients in "
            f"{', '.join(sorted(dtypes))}; expected each once, and one of F32, F16 and BF16"
        )
    return by_path


def _stored(
    source: Adapter, modules: list[ModuleInfo], counts: list[int], role: Role, bits: int
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The numbers of one role, a row a module, and their scales, which are one above 8 bits."""
    rows, scales = [torch.zeros(0)] * len(modules), torch.zeros(len(modules))
    for count in sorted(set(counts) - {0}):
        places = [place for place, other in enumerate(counts) if other == count]
        values, own = _of_one_count(source, [(modules[place], role) for place in places], bits)
        scales[places] = own
        for place, row in zip(places, values, strict=True):
            rows[place] = row
    return rows, scales


def _of_one_count(
    source: Adapter, factors: list[tuple[ModuleInfo, Role]], bits: int
) -> tuple[torch.Tensor, torch.Tensor]:
    found = source.coefficients(factors)
    if bits > 8:
        numbers = found.dequantised() if isinstance(found, Integers) else found
        stored = numbers if bits == 32 else numbers.half()
        if not stored.isfinite().all():
            raise AdapterError(
                f"found a coefficient of {numbers.abs().max():.3g} in {source.name!r}, which float16 cannot hold "
                "(65,504 at most); pack with 32 or 8 bits"
            )
        return stored, torch.ones(len(stored))
    if not isinstance(found, Integers):
        found = quantise(found, min(bits, trained_bits(source.config) or bits))
    elif found.values.abs().max() > LARGEST[bits]:
        found = quantise(found.dequantised(), bits)
    return found.values, found.scales


def _dtype(modules: Mapping[str, ModuleInfo], bits: int) -> dict[str, str]:
    dtype = next((info.dtype for module in modules.values() for info in module.coefficients.values()), "F32")
    return {"dtype": dtype} if bits == 32 and dtype != "F32" else {}


def kept_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Of a `training.json` what evaluating needs."""
    kept = {name: record[name] for name in RECORD_KEPT if name in record}
    settings = kept.get("settings")
    if isinstance(settings, dict):
        kept["settings"] = {
            name: value
            for name, value in settings.items()
            if value is not None and name not in SETTINGS_LEFT_OUT
        }
    return kept
