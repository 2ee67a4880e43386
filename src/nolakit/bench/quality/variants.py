"""NOLA with one thing changed, to see what that is worth. They are for measuring, not for use.

nola_uniform       basis entries from torch's float32 U(-1, 1)
nola_normal        basis entries from torch's float32 normal of U(-1, 1)'s variance, 1/3
nola_without_a0    lora_A = 1 / sqrt(k) sum alpha_i A_i, with alpha 1 at the start, so that beta has a gradient
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nolakit import basis, methods
from nolakit.methods.nola import Nola
from nolakit.methods.site import Factor

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class _Drawn(Nola):
    """A basis that is held in memory, one for each factor, from torch's own generator."""

    exact = False
    replayable = False

    def factors(
        self,
        numbers: Sequence[torch.Tensor],
        factors: Sequence[Factor],
        tied: torch.Tensor | None = None,
        frozen: Sequence[torch.Tensor | None] | None = None,
    ) -> Sequence[torch.Tensor]:
        import torch

        sums = [
            own @ self._basis(factor, len(own)) / math.sqrt(len(own))
            for own, factor in zip(numbers, factors, strict=True)
        ]
        return self._with_offsets(torch.stack(sums), factors)

    def _basis(self, factor: Factor, count: int) -> torch.Tensor:
        """shape: (count, size)"""
        import torch

        held = _HELD.get((self, factor.path, factor.role))
        if held is None:
            generator = torch.Generator().manual_seed(
                basis.stream_number(factor.role, factor.path) ^ self.seed
            )
            held = _HELD[self, factor.path, factor.role] = self._draw((count, factor.size), generator)
        return held

    def _draw(self, shape: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
        raise NotImplementedError


_HELD: dict[tuple[_Drawn, str, str], torch.Tensor] = {}


@dataclass(frozen=True)
class NolaUniform(_Drawn):
    """See the module."""

    name = "nola_uniform"
    title = "NOLA, float32 uniform"

    def _draw(self, shape: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
        import torch

        return torch.rand(shape, generator=generator) * 2 - 1


@dataclass(frozen=True)
class NolaNormal(_Drawn):
    """See the module."""

    name = "nola_normal"
    title = "NOLA, float32 normal"

    def _draw(self, shape: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
        import torch

        return torch.randn(shape, generator=generator) / math.sqrt(3)


@dataclass(frozen=True)
class NolaWithoutA0(Nola):
    """See the module."""

    name = "nola_without_a0"
    title = "NOLA without A0"
    exact = False
    degree = "quadratic"

    def start(self, factor: Factor) -> torch.Tensor | None:
        import torch

        return torch.ones(self.count(factor)) if factor.role == "lora_A" else None

    def offset(self, factor: Factor, device: torch.device) -> torch.Tensor:
        import torch

        return torch.zeros(factor.size, device=device)


def register_variants() -> None:
    """Make them methods like any other, for this process."""
    for name, attribute in (
        ("nola_uniform", "NolaUniform"), ("nola_normal", "NolaNormal"), ("nola_without_a0", "NolaWithoutA0")
    ):  # fmt: skip
        methods.register(name, __name__, attribute)
    from nolakit.tuner.registration import register_all

    register_all()
