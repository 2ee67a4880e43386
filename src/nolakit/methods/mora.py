"""MoRA: one square matrix of as many numbers as LoRA's two, between fixed compressions of inputs and outputs.

    r^ = floor(sqrt((out + in) rank) + 1/2), of type 6 rounded down to even, at least 2;   M (r^, r^) trained
    x_e: x continued from its own beginning to C r^ entries, C = ceil(in / r^), in C chunks x_c
    type 1:  y = tile(M sum_c x_c)                               exact LoRA factors of rank r^
    type 6:  y = tile([M R_0 x_0, ..., M R_{C-1} x_{C-1}])       full rank, without factors

tile repeats its argument to `out` entries and cuts. R_c rotates each pair (b, b + r^/2) by c 10000^(-2b/r^). Trained:
r^^2 numbers a module, beside lora_A, zero at the start; the update is linear in them. No frozen numbers, no scaling.

Source: Jiang et al., arXiv 2405.12130, and its code, which pairs halves where the paper pairs neighbours: the same up
to an order of M's columns. As there, a type 6 module with fewer outputs than C r^ leaves the inputs of its last chunks
out. Convolutions are ours: over channels and kernel, flattened.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nolakit.errors import ConfigError
from nolakit.methods.base import Method
from nolakit.methods.options import option
from nolakit.methods.site import Factor, Site

if TYPE_CHECKING:
    import torch

BASE = 10000.0  # of the rotations' frequencies
TYPES = (1, 6)


@dataclass(frozen=True)
class Mora(Method):
    """MoRA's options: see the module's equations. Published: type 6 at r 8, type 1 at r 128 and 256."""

    name = "mora"
    title = "MoRA"
    update = "decompress M compress; M square, fixed maps by group sums (type 1) or rotations (type 6)"
    trained = "floor(sqrt((out + in) rank))^2 a module"
    source = "arXiv 2405.12130"
    degree = "linear"
    learning_rate = 3e-4
    learning_rate_source = "official README: 3e-4 (MetaMathQA, r 8, type 6)"
    fused = True

    mora_type: int = option(6, "1 sums groups of inputs, 6 rotates chunks")

    def __post_init__(self) -> None:
        if isinstance(self.mora_type, bool) or self.mora_type not in TYPES:
            raise ConfigError(f"found mora_type={self.mora_type!r}; expected 1 or 6")

    @property
    def dense(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.mora_type == 6

    def width(self, site: Site) -> int:
        """r^."""
        width = int(math.sqrt((site.outputs + site.inputs) * site.rank) + 0.5)
        return width if self.mora_type == 1 else max(2, width - width % 2)

    def rank(self, site: Site) -> int:
        return self.width(site)

    def count(self, factor: Factor) -> int:
        return self.width(factor.site) ** 2 if factor.role == "lora_A" else 0

    def factor(
        self, numbers: torch.Tensor, factor: Factor, tied: torch.Tensor | None, frozen: torch.Tensor | None
    ) -> torch.Tensor:
        import torch

        site, width = factor.site, self.width(factor.site)
        if factor.role == "lora_B":
            return _tiled(torch.eye(width, dtype=numbers.dtype, device=numbers.device), site.outputs).T
        chunks = -(-site.inputs // width)
        m = numbers.view(width, width)
        if self.mora_type == 1:
            wide = m.repeat(1, chunks)
        else:
            rotated = _rotated(m[:, None].expand(width, chunks, width), -1)
            wide = torch.block_diag(*rotated.unbind(1))
        inputs = torch.arange(chunks * width, device=numbers.device) % site.inputs
        folded = wide.new_zeros(len(wide), site.inputs).index_add(1, inputs, wide)
        return folded if self.mora_type == 1 else _tiled(folded.T, site.outputs).T

    def apply(
        self,
        x: torch.Tensor,
        numbers: torch.Tensor,
        factor: Factor,
        tied: torch.Tensor | None,
        frozen: torch.Tensor | None,
    ) -> torch.Tensor:
        import torch.nn.functional as F

        site, width = factor.site, self.width(factor.site)
        chunks = -(-site.inputs // width)
        m = numbers.view(width, width).to(x.dtype)
        grouped = _tiled(x, chunks * width).unflatten(-1, (chunks, width))
        if self.mora_type == 1:
            return _tiled(F.linear(grouped.sum(-2), m), site.outputs)
        used = min(chunks, -(-site.outputs // width))
        return _tiled(F.linear(_rotated(grouped[..., :used, :], 1), m).flatten(-2), site.outputs)


def _rotated(chunks: torch.Tensor, sign: int) -> torch.Tensor:
    """R_c x_c, or with sign -1 R_c^T x_c. # shape: (*batch, C, r^)"""
    import torch

    half = chunks.shape[-1] // 2
    steps = torch.arange(half, device=chunks.device, dtype=torch.float32) / half
    numbers = torch.arange(chunks.shape[-2], device=chunks.device, dtype=torch.float32)
    angles = sign * numbers[:, None] * BASE**-steps
    cos, sin = angles.cos().to(chunks.dtype), angles.sin().to(chunks.dtype)
    first, second = chunks.split(half, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def _tiled(x: torch.Tensor, length: int) -> torch.Tensor:
    """The last dimension repeated to `length` entries, and cut."""
    times = -(-length // x.shape[-1])
    return (x.repeat(*[1] * (x.dim() - 1), times) if times > 1 else x)[..., :length]
