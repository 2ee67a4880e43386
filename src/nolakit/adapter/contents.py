"""What an adapter holds, wherever it is stored: a configuration, coefficients, and what was trained whole.

A folder (`nolakit.adapter.files`) and a packed file (`nolakit.adapter.packed`) are both read as this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from nolakit import methods
from nolakit.adapter.paths import canonical_path, check_path, unwrapped_path
from nolakit.adapter.rank_and_alpha import check_rank_and_alpha
from nolakit.adapter.shapes import ModuleDims, shapes_of
from nolakit.errors import AdapterError, BasisError, ConfigError
from nolakit.methods.base import Role

if TYPE_CHECKING:
    import torch

    from nolakit.basis.integers import Integers

COEFFICIENTS = "coefficients"
FLOATS = ("F32", "F16", "BF16")  # dtypes of coefficients
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
TORCH_NAMES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


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


class Adapter(ABC):
    """An adapter whose configuration and header have been read and found consistent."""

    name: str  # where it is, for messages
    config: dict[str, Any]
    tensors: dict[str, TensorInfo]  # by the names that a folder gives them
    file_bytes: tuple[int, int]  # of the weights' file, and of a configuration beside it

    @abstractmethod
    def open_tensors(self) -> AbstractContextManager[Any]:
        """A context with with `.get_tensor(key)`, which gives a torch tensor. Nothing is unpickled."""

    @abstractmethod
    def coefficients(self, factors: Sequence[tuple[ModuleInfo, Role]]) -> torch.Tensor | Integers:
        """Coefficients of factors of one count, as they are stored. # shape: (len(factors), count)

        Raises:
            AdapterError: coefficients that are not finite.
        """

    @property
    @abstractmethod
    def record(self) -> dict[str, Any] | None:
        """The content of `training.json`, if there is one. Raises AdapterError where it is not a JSON object."""

    @property
    def bits(self) -> int:
        """Bits of a stored coefficient, of the widest where they differ."""
        return 8 * max((DTYPE_BYTES.get(info.dtype, 1) for info in self.tensors.values()), default=4)

    @property
    @abstractmethod
    def sha256(self) -> str | None:
        """The digest of the content, hexadecimal, where it is stored with one."""

    @property
    @abstractmethod
    def coefficient_bytes(self) -> int:
        """Bytes of the stored coefficients, scales included."""

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
        if not isinstance(prefix, str):
            raise AdapterError(f"found base_model_prefix {prefix!r} in {self.name!r}; expected a text")
        found: dict[str, dict[str, TensorInfo]] = {}
        for key, tensor in self.tensors.items():
            if key.endswith("." + COEFFICIENTS):
                path, _, role = key.removesuffix("." + COEFFICIENTS).rpartition(".")
                found.setdefault(path, {})[role] = tensor
        for path, roles in sorted(found.items()):
            if set(roles) != {"lora_A", "lora_B"}:
                raise AdapterError(
                    f"found only {', '.join(sorted(roles))} of module {path!r}; expected lora_A and lora_B. "
                    "The file is incomplete: fetch or save it again"
                )
            canonical = canonical_path(path, prefix)
            check_path(canonical, path)
            dims = shapes_of(canonical, self.config.get("module_shapes"))
            yield ModuleInfo(path, unwrapped_path(path), canonical, dims, roles)

    def checked_modules(self) -> list[ModuleInfo]:
        """The adapted modules. Raises AdapterError also where two are one, one is missing, or there are none."""
        modules = list(self.modules())
        found: set[str] = set()
        for module in modules:
            if module.canonical in found:
                raise AdapterError(
                    f"found module {module.canonical!r} twice in {self.name!r}; expected it once"
                )
            found.add(module.canonical)
        said = self.config.get("base_fingerprint")
        expected = said.get("modules") if isinstance(said, dict) else None
        if not modules or (isinstance(expected, int) and expected != len(modules)):
            raise AdapterError(
                f"found {len(modules)} modules in {self.name!r}, and its fingerprint says {expected}; modules are "
                "missing, or too many: fetch or save it again"
            )
        return modules

    def other_tensors(self) -> dict[str, TensorInfo]:
        """What is stored besides the method's own tensors: coefficients, or LoRA's of an adapter of PEFT's."""
        return {key: info for key, info in self.tensors.items() if not self._is_own(key)}

    def own_tensors(self) -> dict[str, TensorInfo]:
        """The method's own tensors."""
        return {key: info for key, info in self.tensors.items() if self._is_own(key)}

    def _is_own(self, key: str) -> bool:
        return key.endswith("." + COEFFICIENTS) if self.computed else ".lora_" in key

    def load(self) -> dict[str, torch.Tensor]:
        """All tensors, under the names that a folder gives them."""
        with self.open_tensors() as file:
            return {key: file.get_tensor(key) for key in self.tensors}

    def counts(self) -> dict[Role, int]:
        """Coefficients of each factor, as the configuration says. Raises AdapterError where it says nothing, or a rank
        or lora_alpha that no update has."""
        check_rank_and_alpha(self.config, self.name)
        try:
            method = methods.method_class(self.method).from_config(self.config)
            return {"lora_A": method.count("lora_A"), "lora_B": method.count("lora_B")}
        except KeyError as error:
            raise AdapterError(f"found a configuration of method {self.method!r} without {error}") from error
        except (ConfigError, BasisError) as error:
            raise AdapterError(f"in the configuration of {self.name!r}: {error}") from error
