"""Where a method works: an adapted module, and one of the two LoRA factors there."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

Role = Literal["lora_A", "lora_B"]
ROLES: tuple[Role, ...] = ("lora_A", "lora_B")


@dataclass(frozen=True)
class Site:
    """An adapted module: its canonical path (`docs/format.md`, section 4) and the shapes of plain LoRA's factors.

    lora_A: `(rank, in)`, with a convolution's kernel behind: `(rank, in / groups, height, width)`.
    lora_B: `(out, rank)`, of a convolution `(out, rank / groups, 1, 1)`.
    """

    path: str
    lora_A: tuple[int, ...]
    lora_B: tuple[int, ...]

    @property
    def rank(self) -> int:
        """The configuration's `r` here."""
        return self.lora_A[0]

    @property
    def inputs(self) -> int:
        """Columns of the weight as a matrix: inputs that one output sums over."""
        return prod(self.lora_A[1:])

    @property
    def outputs(self) -> int:
        """Rows of the weight as a matrix."""
        return self.lora_B[0]

    @property
    def grouped(self) -> bool:
        """Whether this is a grouped convolution."""
        return self.lora_B[1] != self.rank


@dataclass(frozen=True)
class Factor:
    """One factor of one module."""

    role: Role
    site: Site

    @property
    def path(self) -> str:
        """The module's canonical path."""
        return self.site.path

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape that plain LoRA's factor has here."""
        return self.site.lora_A if self.role == "lora_A" else self.site.lora_B

    @property
    def size(self) -> int:
        """Entries of plain LoRA's factor."""
        return prod(self.dims)

    @property
    def fan_in(self) -> int:
        """Inputs that one output of plain LoRA's factor sums over."""
        return prod(self.dims[1:])

    @property
    def partner(self) -> Factor:
        """The other factor of the module."""
        return Factor("lora_B" if self.role == "lora_A" else "lora_A", self.site)
