"""Sums and averages of adapters whose update is linear in their numbers: exact, number by number.

    Delta(sum_i w_i c_i) = sum_i w_i Delta(c_i)

for adapters of one frozen part. Each sum is taken in float64 and rounded to float32 once. What was trained whole beside
the adapters (heads, biases, token embeddings) is weights and no update, so it is averaged, and only by weights that add
up to 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from nolakit.adapter.alike import Modules, check_alike, linear_method, same_values
from nolakit.adapter.contents import COEFFICIENTS, Adapter, ModuleInfo
from nolakit.adapter.files import CONFIG_NAME, RECORD_NAME, WEIGHTS_NAME, open_adapter
from nolakit.adapter.packed_files import write_object
from nolakit.adapter.packing import kept_record
from nolakit.adapter.quantise import quantise, trained_bits
from nolakit.adapter.writing import check_free, new_folder
from nolakit.basis.integers import Integers
from nolakit.errors import AdapterError, BaseMismatchError, ConfigError, UnsupportedError
from nolakit.methods.site import Role

SUM_TOLERANCE = 1e-6  # of weights that add up to 1


def weighted_sum(
    adapters: Sequence[str | Path | Adapter],
    weights: Sequence[float],
    folder: str | Path,
    *,
    overwrite: bool = False,
) -> Path:
    """Write the adapter whose update is the weighted sum of other adapters' updates.

    Args:
        adapters: folders or packed files, of one linear method with one configuration, seed and base.
        weights: one for each; 1 / n averages.
        folder: to write. Appears whole or not at all.
        overwrite: replace what is there.

    Returns:
        The folder. Its coefficients are float32, and of no fewer bits than that: adapters that were trained with
        `coefficient_bits` count as training saw them.

    Raises:
        UnsupportedError: a method whose update is not linear, or not nolakit's; or weights that do not add up to 1 with
            something that was trained whole.
        AdapterError: an adapter that cannot be read, or is of another configuration than the first.
        BaseMismatchError: adapters of different bases.
        ConfigError: not as many weights as adapters, or none. OutputExistsError: `folder` is there.

    Cost: reads each adapter once; no base and no factor is needed.
    """
    sources = [one if isinstance(one, Adapter) else open_adapter(one) for one in adapters]
    _check_weights(sources, weights)
    check_free(folder, overwrite=overwrite)
    first = sources[0]
    method = linear_method(first)
    modules = [{module.canonical: module for module in source.checked_modules()} for source in sources]
    for source, its in zip(sources[1:], modules[1:], strict=True):
        check_alike(method, first, modules[0], source, its)
    tensors = {
        f"{module.key}.{role}.{COEFFICIENTS}": _sum(
            (_numbers(source, its[path], role) for source, its in zip(sources, modules, strict=True)), weights
        )
        for path, module in modules[0].items()
        for role in module.coefficients
    }
    tensors |= _parts(sources, modules) | _others(sources, weights)
    for key, values in tensors.items():
        if not values.isfinite().all():
            raise AdapterError(f"found a sum of {key!r} that is not finite in float32; take smaller weights")
    with new_folder(folder, overwrite=overwrite) as fresh:
        save_file(dict(sorted(tensors.items())), fresh / WEIGHTS_NAME, metadata={"format": "pt"})
        write_object(fresh / CONFIG_NAME, _config(sources))
        if first.record:
            write_object(
                fresh / RECORD_NAME,
                {name: value for name, value in kept_record(first.record).items() if name != "metrics"},
            )
    return Path(folder)


def _check_weights(sources: Sequence[Adapter], weights: Sequence[float]) -> None:
    if not sources or len(sources) != len(weights) or not all(map(math.isfinite, weights)):
        raise ConfigError(
            f"found {len(sources)} adapters and the weights {list(weights)}; expected a finite number for each"
        )


def _numbers(source: Adapter, module: ModuleInfo, role: Role) -> torch.Tensor:
    """The numbers of one factor, as training saw them."""
    found = source.coefficients([(module, role)])
    bits = trained_bits(source.config)
    if isinstance(found, torch.Tensor) and bits is not None:
        found = quantise(found, bits)
    return (found.dequantised() if isinstance(found, Integers) else found)[0]


def _sum(parts: Iterable[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    return sum(
        (part.double() * weight for part, weight in zip(parts, weights, strict=True)), start=torch.zeros(())
    ).float()


def _parts(sources: Sequence[Adapter], modules: Sequence[Modules]) -> dict[str, torch.Tensor]:
    """The stored frozen parts, which must be the same. Rounding may differ, as where two machines computed them."""
    loaded = [source.load() for source in sources] if sources[0].part_tensors() else []
    kept = {}
    for path, module in modules[0].items():
        for key in sources[0].part_tensors():
            if not key.startswith(module.key + ".lora_"):
                continue
            part = kept[key] = loaded[0][key]
            for its, tensors, source in zip(modules[1:], loaded[1:], sources[1:], strict=True):
                other = tensors.get(its[path].key + key.removeprefix(module.key))
                if not same_values(part, other):
                    raise BaseMismatchError(
                        f"found {key!r} in {source.name!r} with other values than in {sources[0].name!r}; adapters "
                        "add up that were made of one base"
                    )
    return kept


def _others(sources: Sequence[Adapter], weights: Sequence[float]) -> dict[str, torch.Tensor]:
    """The average of what was trained whole."""
    names = sorted(sources[0].other_tensors())
    if any(sorted(source.other_tensors()) != names for source in sources):
        raise AdapterError(
            "found adapters beside which other layers were trained whole; expected the same ones"
        )
    if not names:
        return {}
    if abs(sum(weights) - 1) > SUM_TOLERANCE:
        raise UnsupportedError(
            f"found {names[0]!r}, which was trained whole, and weights that add up to {sum(weights):g}; a "
            "layer's own weights can be averaged, by weights that add up to 1, but not added: save them without it"
        )
    labels = [(source.record or {}).get("labels") for source in sources]
    if any(one != labels[0] for one in labels):
        raise AdapterError(f"found heads of different labels, {repr(labels)[:200]}; expected the same")
    loaded = [source.load() for source in sources]
    averaged = {}
    for name in names:
        parts = [tensors[name] for tensors in loaded]
        if any((part.shape, part.dtype) != (parts[0].shape, parts[0].dtype) for part in parts):
            raise AdapterError(f"found {name!r} of different shapes or dtypes; expected the same")
        if parts[0].is_floating_point():
            averaged[name] = _sum(parts, weights).to(parts[0].dtype)
        elif all(torch.equal(part, parts[0]) for part in parts):
            averaged[name] = parts[0]
        else:
            raise AdapterError(
                f"found different integers in {name!r}, which have no average; expected the same"
            )
    return averaged


def _config(sources: Sequence[Adapter]) -> dict[str, Any]:
    """The first one's configuration, with every check that one of them has."""
    config = {
        name: value for name, value in sources[0].config.items() if name not in ("packed", "coefficient_bits")
    }
    for name in ("base_fingerprint", "frozen_check"):
        found = next((source.config[name] for source in sources if source.config.get(name) is not None), None)
        if found is not None:
            config[name] = found
    return config
