"""Packed adapters: all of an adapter in one safetensors file, read without torch.

    coefficients           1-D, F32, F16, I8 or U8, as `nolakit.adapter.packed_numbers` has it
    scales                 F32 (modules, 2) of lora_A and lora_B, with I8 and U8
    nolakit.description    version, bits, module names, counts, configuration, record of the training
    nolakit.sha256         of all of it
    anything else          what was trained whole, under its own name

`docs/format.md`, section 9, is the specification. Reading checks the digest always, and decodes coefficients when
they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from nolakit.adapter import module_names
from nolakit.adapter.container import Stored
from nolakit.adapter.contents import COEFFICIENTS, TORCH_NAMES, Adapter, ModuleInfo, TensorInfo
from nolakit.adapter.packed_numbers import Numbers, decode
from nolakit.adapter.paths import FILE_PREFIX
from nolakit.errors import AdapterError
from nolakit.methods.site import ROLES, Role

if TYPE_CHECKING:
    import torch

    from nolakit.basis.integers import Integers

SCALES = "scales"


@dataclass(frozen=True)
class Description:
    """What a packed adapter says of itself.

    bits: of a coefficient: 32, 16, 8 or 4.
    patterns: module names, see `nolakit.adapter.module_names`.
    counts: coefficients of each factor of a module, or of all modules together where they differ.
    dtype: of the coefficients in the folder that was packed with 32 bits.
    config: as in `adapter_config.json`.
    record: what evaluating needs of `training.json`, if there was one.
    """

    bits: int
    patterns: list[Any]
    counts: dict[Role, int]
    dtype: str
    config: dict[str, Any]
    record: dict[str, Any] | None


@dataclass(frozen=True)
class PackedAdapter(Adapter):
    """A packed adapter whose digest and description have been checked (`nolakit.adapter.unpacking`).

    digest: SHA-256 of the content, hexadecimal: the same for the same content, whoever packed it.
    stored: every tensor but the two of the container.
    """

    name: str
    description: Description
    digest: str
    stored: dict[str, Stored] = field(repr=False)
    file_bytes: tuple[int, int]

    @property
    def config(self) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.description.config

    @property
    def bits(self) -> int:
        """Bits of a coefficient."""
        return self.description.bits

    @property
    def sha256(self) -> str:
        return self.digest

    @property
    def record(self) -> dict[str, Any] | None:
        return self.description.record

    @property
    def coefficient_bytes(self) -> int:
        return sum(len(self.stored[name].data) for name in (COEFFICIENTS, SCALES) if name in self.stored)

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each module in `numbers` and `scales`, by its path in the base. AdapterError where two are one."""
        paths = module_names.expand_names(self.description.patterns)
        rows = {path: row for row, path in enumerate(paths)}
        if len(rows) < len(paths):
            twice = next(path for row, path in enumerate(paths) if rows[path] != row)
            raise AdapterError(
                f"found module {twice!r} twice in {self.name}; expected it once: pack it again"
            )
        return rows

    @cached_property
    def module_counts(self) -> list[Mapping[Role, int]]:
        """Numbers of the factors of each module. AdapterError where no modules are such."""
        layout = self.layout
        if layout.each is not None:
            return [layout.each] * len(self.rows)
        return [*layout.counts([self.site(path) for path in self.rows])]

    @cached_property
    def tensors(self) -> dict[str, TensorInfo]:  # pyright: ignore[reportIncompatibleVariableOverride]
        dtype = self.description.dtype
        made = {
            _key(path, role): TensorInfo(dtype, (count,))
            for path, row in self.rows.items()
            for role in ROLES
            if (count := self.module_counts[row][role])
        }
        others = {key: one for key, one in self.stored.items() if key not in (COEFFICIENTS, SCALES)}
        return made | {key: TensorInfo(one.dtype, one.shape) for key, one in others.items()}

    def _found_modules(self) -> dict[str, dict[Role, TensorInfo]]:
        return {
            FILE_PREFIX + path: {
                role: self.tensors[key] for role in ROLES if (key := _key(path, role)) in self.tensors
            }
            for path in self.rows
        }

    @cached_property
    def numbers(self) -> Numbers:
        """The numbers as they are stored. AdapterError where one cannot be."""
        return decode(self.stored[COEFFICIENTS].data, self.bits, self.module_counts, self.name)

    @cached_property
    def scales(self) -> np.ndarray:
        """Scales of lora_A and lora_B of 8 and 4 bits. # shape: (modules, 2) float32"""
        return np.frombuffer(self.stored[SCALES].data, "<f4").reshape(-1, 2)

    def coefficients(self, factors: Sequence[tuple[ModuleInfo, Role]]) -> torch.Tensor | Integers:
        return self.taken([(module.path, role) for module, role in factors])

    @contextmanager
    def open_tensors(self) -> Iterator[PackedTensors]:
        yield PackedTensors(self)

    def taken(self, factors: Sequence[tuple[str, Role]]) -> torch.Tensor | Integers:
        """Coefficients of factors of one count, named by path and role. # shape: (len(factors), count)"""
        import torch

        from nolakit.basis.integers import Integers

        numbers = torch.from_numpy(np.stack([self.numbers[role][self.rows[path]] for path, role in factors]))
        if self.bits > 8:
            return numbers.float()
        scales = np.array([self.scales[self.rows[path], ROLES.index(role)] for path, role in factors])
        return Integers(numbers, torch.from_numpy(scales))


@dataclass(frozen=True)
class PackedTensors:
    """The tensors of a packed adapter for torch, coefficients in float32."""

    adapter: PackedAdapter

    def get_tensor(self, key: str) -> torch.Tensor:
        """A tensor by the name that a folder gives it. Raises AdapterError where there is none."""
        import torch

        if key not in self.adapter.tensors:
            raise AdapterError(
                f"found no tensor {key!r} in {self.adapter.name}; it has {len(self.adapter.tensors)}"
            )
        info = self.adapter.tensors[key]
        dtype = getattr(torch, TORCH_NAMES[info.dtype])
        if key in self.adapter.stored:
            data = bytearray(self.adapter.stored[key].data)
            return (
                torch.frombuffer(data, dtype=dtype).reshape(info.shape)
                if data
                else torch.zeros(info.shape, dtype=dtype)
            )
        path, role = key.removesuffix(f".{COEFFICIENTS}").removeprefix(FILE_PREFIX).rsplit(".", 1)
        found = self.adapter.taken([(path, role)])  # pyright: ignore[reportArgumentType]
        return (found if isinstance(found, torch.Tensor) else found.dequantised())[0].to(dtype)


def _key(path: str, role: Role) -> str:
    return f"{FILE_PREFIX}{path}.{role}.{COEFFICIENTS}"
