"""Adapter folders, read without the base, transformers, peft or (until tensors are asked for) torch.

A folder holds `adapter_config.json` and `adapter_model.safetensors`, as PEFT writes them. The tensors are
the coefficients, `base_model.model.<path>.lora_A.coefficients` and `.lora_B.coefficients`, and whatever
else was trained whole: biases, modules_to_save, token embeddings. `docs/format.md` is the specification.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from nolakit import methods
from nolakit.adapter.paths import canonical_path, unwrapped_path
from nolakit.adapter.shapes import ModuleDims, shapes_of
from nolakit.errors import AdapterError, AdapterNotFoundError, BasisError, ConfigError

if TYPE_CHECKING:
    import torch

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"
COEFFICIENTS = "coefficients"
DTYPE_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}


@dataclass(frozen=True)
class TensorInfo:
    """A tensor of the file, as its header describes it."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def numbers(self) -> int:
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.numbers * DTYPE_BYTES.get(self.dtype, 1)


@dataclass(frozen=True)
class ModuleInfo:
    """One adapted module: its name in the file, its path in the base model, its canonical path, and the shapes
    of its factors."""

    key: str
    path: str
    canonical: str
    dims: ModuleDims
    coefficients: dict[str, TensorInfo]


@dataclass(frozen=True)
class AdapterFile:
    """An adapter folder whose configuration and header have been read and found consistent."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, TensorInfo]

    @property
    def method(self) -> str:
        """The method's name: ours, or PEFT's in lower case."""
        return methods.name_of(self.config["peft_type"]) or self.config["peft_type"].lower()

    @property
    def computed(self) -> bool:
        """Whether the factors are computed by one of our methods."""
        return methods.name_of(self.config["peft_type"]) is not None

    def modules(self) -> Iterator[ModuleInfo]:
        """The adapted modules, in the order of their paths. Raises AdapterError where one is incomplete."""
        prefix = self.config.get("base_model_prefix", "")
        found: dict[str, dict[str, TensorInfo]] = {}
        for key, tensor in self.tensors.items():
            if key.endswith("." + COEFFICIENTS):
                path, role = key.removesuffix("." + COEFFICIENTS).rsplit(".", 1)
                found.setdefault(path, {})[role] = tensor
        for path, roles in sorted(found.items()):
            if set(roles) != {"lora_A", "lora_B"}:
                raise AdapterError(
                    f"found only {', '.join(sorted(roles))} of module {path!r}; expected lora_A and lora_B. "
                    "The file is incomplete: fetch or save it again"
                )
            canonical = canonical_path(path, prefix)
            dims = shapes_of(canonical, self.config.get("module_shapes"))
            yield ModuleInfo(path, unwrapped_path(path), canonical, dims, roles)

    def other_tensors(self) -> dict[str, TensorInfo]:
        """What the file holds besides coefficients."""
        return {key: info for key, info in self.tensors.items() if not key.endswith("." + COEFFICIENTS)}

    @contextmanager
    def open_tensors(self) -> Iterator[Any]:
        """The safetensors file, opened for torch: `.get_tensor(key)`. Nothing is unpickled."""
        with safe_open(self.folder / WEIGHTS_NAME, framework="pt") as file:
            yield file

    def load(self) -> dict[str, torch.Tensor]:
        """All tensors of the file."""
        with self.open_tensors() as file:
            return {key: file.get_tensor(key) for key in self.tensors}


def open_adapter(path: str | Path) -> AdapterFile:
    """Read the configuration and the header of an adapter folder.

    Raises:
        AdapterNotFoundError: no such folder, or one of its two files is missing.
        AdapterError: a configuration or a tensor file that cannot be read or does not fit the other.
    """
    folder = Path(path)
    for name in (CONFIG_NAME, WEIGHTS_NAME):
        if not (folder / name).is_file():
            raise AdapterNotFoundError(
                f"found no {name} in {str(folder)!r}; expected an adapter folder as save_pretrained writes it"
                + ("" if folder.is_dir() else " (there is no such folder)")
            )
    adapter = AdapterFile(folder, read_config(folder / CONFIG_NAME), read_header(folder / WEIGHTS_NAME))
    if adapter.computed:
        _check_counts(adapter)
    return adapter


def read_config(path: Path) -> dict[str, Any]:
    """The configuration as a dict. Raises AdapterError where it is not one with a peft_type."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise AdapterError(f"found {str(path)!r}, which is not JSON text: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("peft_type"), str):
        raise AdapterError(f"found {str(path)!r} without a peft_type; expected a PEFT adapter configuration")
    return config


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Names, dtypes and shapes of a safetensors file. Raises AdapterError where it is not one."""
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - not a dict
            return {
                key: TensorInfo(part.get_dtype(), tuple(part.get_shape())) for key, part in slices.items()
            }
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"found {str(path)!r}, which is not a whole safetensors file: {error}") from error


def _check_counts(adapter: AdapterFile) -> None:
    """Each factor has as many coefficients as the configuration says."""
    try:
        method = methods.method_class(adapter.method).from_config(adapter.config)
        for module in adapter.modules():
            for role, tensor in module.coefficients.items():
                expected = (method.count(role),)  # pyright: ignore[reportArgumentType]
                if tensor.shape != expected:
                    raise AdapterError(
                        f"found {role} of {module.path!r} with shape {tensor.shape}; the configuration says {expected}"
                    )
    except KeyError as error:
        raise AdapterError(f"found a configuration of method {adapter.method!r} without {error}") from error
    except (ConfigError, BasisError) as error:
        raise AdapterError(f"in {str(adapter.folder / CONFIG_NAME)!r}: {error}") from error
