"""VeRA: two frozen random matrices that all modules share, and trained diagonals between and behind them.

    lora_A = diag(d) A      A (rank, in),  frozen
    lora_B = diag(b) B      B (out, rank), frozen

A and B are `random("lora_A")` and `random("lora_B")`, uniform with the variance of Kaiming's normalisation, 2 / in and
2 / rank. Trained: d (rank), 0.1 at the start, and b (out), zero at the start, so that the update is. Published without
a scaling: lora_alpha = r.

Source: Kopiczko et al., ICLR 2024, arXiv 2310.11454; PEFT's implementation is followed. It cuts A and B for every
module out of one pair of the largest sizes; here their scale is each module's own, so that its update does not depend
on which others are adapted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nolakit.basis.streams import check_seed
from nolakit.methods.base import Method
from nolakit.methods.options import option, seed_option
from nolakit.methods.site import Factor

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Vera(Method):
    """VeRA's options: see the module's equations."""

    name = "vera"
    title = "VeRA"
    update = "diag(b) B diag(d) A; B, A frozen random and shared"
    trained = "out + rank a module"
    source = "arXiv 2310.11454"
    r = 256
    learning_rate = 4e-3
    learning_rate_source = "arXiv 2310.11454: ten times LoRA's, 4e-3 for LLaMA-2"

    seed: int = seed_option()
    d_initial: float = option(0.1, "Start of the diagonal d")

    def __post_init__(self) -> None:
        check_seed(self.seed)

    def count(self, factor: Factor) -> int:
        return factor.site.rank if factor.role == "lora_A" else factor.site.outputs

    def start(self, factor: Factor) -> torch.Tensor | None:
        import torch

        return torch.full((factor.site.rank,), self.d_initial) if factor.role == "lora_A" else None

    def factor(
        self, numbers: torch.Tensor, factor: Factor, tied: torch.Tensor | None, frozen: torch.Tensor | None
    ) -> torch.Tensor:
        site = factor.site
        rows, columns = (site.rank, site.inputs) if factor.role == "lora_A" else (site.outputs, site.rank)
        return numbers[:, None] * self.random(
            factor.role, (rows, columns), like=numbers, std=math.sqrt(2 / columns)
        )
