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
from nolakit.adapter import module_names
from nolakit.adapter.layout import MOST_MODULES, Layout
from nolakit.adapter.paths import FILE_PREFIX, canonical_path, check_path, unwrapped_path
from nolakit.adapter.rank_and_alpha import check_rank_and_alpha
from nolakit.adapter.shapes import ModuleDims, shapes_of
from nolakit.errors import AdapterError, BasisError, ConfigError, UnsupportedError
from nolakit.methods.base import Method
from nolakit.methods.site import ROLES, Role, Site

if TYPE_CHECKING:
    import torch

    from nolakit.basis.integers import Integers

COEFFICIENTS = "coefficients"
PARTS = ("frozen", "measured")  # of a factor, stored beside its coefficients by some methods
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
    coefficients: dict[Role, TensorInfo]

    @property
    def site(self) -> Site:
        """Where the method works."""
        return Site(self.canonical, self.dims["lora_A"], self.dims["lora_B"])


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
        """Coefficients of factors of one count above 0, as they are stored. # shape: (len(factors), count)

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

    def check_computed(self, hint: str = "") -> None:
        """Raises UnsupportedError, which ends with the hint, for an adapter of another method than ours."""
        if not self.computed:
            raise UnsupportedError(
                f"found a {self.method!r} adapter in {self.name!r}; expected one of nolakit's{hint}"
            )

    def modules(self) -> Iterator[ModuleInfo]:
        """The adapted modules, in the order of their paths. Raises AdapterError where one is incomplete."""
        prefix = self.config.get("base_model_prefix", "")
        if not isinstance(prefix, str):
            raise AdapterError(f"found base_model_prefix {prefix!r} in {self.name!r}; expected a text")
        both = self.computed and self.layout.each is not None
        for path, roles in sorted(self._found_modules().items()):
            if both and set(roles) != set(ROLES):
                raise AdapterError(
                    f"found only {', '.join(sorted(roles))} of module {path!r}; expected lora_A and lora_B. "
                    "The file is incomplete: fetch or save it again"
                )
            site = self.site(path)
            dims = {"lora_A": site.lora_A, "lora_B": site.lora_B}
            yield ModuleInfo(path, unwrapped_path(path), site.path, dims, roles)

    def site(self, path: str) -> Site:
        """Where the method works in the module at a path of the file. AdapterError where there is no such shape."""
        canonical = canonical_path(path, self.config.get("base_model_prefix", ""))
        check_path(canonical, path)
        dims = shapes_of(canonical, self.config.get("module_shapes"))
        return Site(canonical, dims["lora_A"], dims["lora_B"])

    def _found_modules(self) -> dict[str, dict[Role, TensorInfo]]:
        """The modules' names in the file, with their coefficients."""
        found: dict[str, dict[Role, TensorInfo]] = {}
        for key, tensor in self.tensors.items():
            if key.endswith("." + COEFFICIENTS):
                path, _, role = key.removesuffix("." + COEFFICIENTS).rpartition(".")
                found.setdefault(path, {})[role] = tensor  # pyright: ignore[reportArgumentType] - checked with the counts
        listed = self.config.get("module_names")
        if listed is not None and self.computed:
            if module_names.count(listed) > MOST_MODULES:
                raise AdapterError(
                    f"found {module_names.count(listed):,} modules in {self.name!r}; expected fewer"
                )
            known = {unwrapped_path(path) for path in found}
            every = module_names.expand_names(listed)
            if known - set(every):
                raise AdapterError(
                    f"found numbers of {sorted(known - set(every))[0]!r} in {self.name!r}, which its module_names do "
                    "not name; fetch or save it again"
                )
            for path in every:
                if path not in known:
                    found.setdefault(FILE_PREFIX + path, {})
        return found

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
        """What was trained whole: neither the method's own tensors nor its frozen parts."""
        parts = self.part_tensors()
        return {key: info for key, info in self.tensors.items() if not self._is_own(key) and key not in parts}

    def own_tensors(self) -> dict[str, TensorInfo]:
        """The method's own tensors: coefficients, or LoRA's of an adapter of PEFT's."""
        return {key: info for key, info in self.tensors.items() if self._is_own(key)}

    def part_tensors(self) -> dict[str, TensorInfo]:
        """Frozen parts of the method that are stored."""
        names = tuple(f".{role}.{part}" for role in ROLES for part in PARTS) if self.computed else ()
        return {key: info for key, info in self.tensors.items() if key.endswith(names or ("\0",))}

    def _is_own(self, key: str) -> bool:
        return key.endswith("." + COEFFICIENTS) if self.computed else ".lora_" in key

    def load(self) -> dict[str, torch.Tensor]:
        """All tensors, under the names that a folder gives them."""
        with self.open_tensors() as file:
            return {key: file.get_tensor(key) for key in self.tensors}

    @property
    def layout(self) -> Layout:
        """The method, and how many numbers its factors store. Raises AdapterError where the configuration says nothing,
        or a rank or lora_alpha that no update has."""
        check_rank_and_alpha(self.config, self.name)
        try:
            method = methods.from_config(self.method, self.config)
            return Layout(method, method.uniform())
        except KeyError as error:
            raise AdapterError(f"found a configuration of method {self.method!r} without {error}") from error
        except (ConfigError, BasisError) as error:
            raise AdapterError(f"in the configuration of {self.name!r}: {error}") from error

    def bound_method(self, modules: Sequence[ModuleInfo]) -> Method:
        """The method, with the knowledge of all modules. Raises AdapterError for modules that it cannot have."""
        layout = self.layout
        layout.counts([module.site for module in modules])
        return layout.method.bind([module.site for module in modules])
