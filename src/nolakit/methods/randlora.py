"""RandLoRA: an update of full rank, as a sum of random low-rank products with trained diagonals.

    Delta = 1 / sqrt(N) sum_{j<N} B_j diag(lambda_j) A diag(gamma_j),   N = ceil(d / rank),  d = min(out, in)
    B_j (max(out, in), rank), A (rank, d): uniform of unit variance, frozen;  transposed where out < in

Trained: lambda_j (rank), zero at the start, and gamma_j (d), 1 / d: N (rank + d) numbers a module, all of them beside
lora_A, lambda first; fewer as the rank grows. The official scaling is lora_alpha / rank / sqrt(N) with lora_alpha =
2 rank, for another r too; 1 / sqrt(N) stands in the formula. B_j and A are shared by modules of one shape: `random(A)`
and, of standard deviation 1 too, `random(B)`, (max(out, in), N rank), whose columns j rank to (j + 1) rank are B_j.

Source: Albert et al., ICLR 2025, arXiv 2502.00987. The paper's sum is followed. The official code and PEFT flatten
lambda and B in different orders, so that the columns of the B_j are shared out otherwise, which is the same
distribution; PEFT leaves out 1 / sqrt(N) and takes lora_alpha = 20 rank, which at d = 4096 and rank 32 makes 113 times
the update. Both cut B and A for every module out of one pair of the largest sizes.

Training never makes Delta. Its two products with the layer's input cost 2 d^2 + 2 d max(out, in) operations a token,
and neither keeps its matrix for the backward pass (`nolakit.methods.remade`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nolakit.basis.streams import check_seed
from nolakit.methods.base import Method
from nolakit.methods.options import seed_option
from nolakit.methods.site import Factor, Site

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class RandLora(Method):
    """RandLoRA's options: see the module's equations. Published: r 32 for language models, 6 for CLIP, 20 for GPT-2."""

    name = "randlora"
    title = "RandLoRA"
    update = (
        "sum_j B_j diag(lambda_j) A diag(gamma_j) / sqrt(N), of full rank; B_j, A frozen random and shared"
    )
    trained = "N (rank + d) a module, d = min(out, in), N = ceil(d / rank)"
    source = "arXiv 2502.00987"
    degree = "other"
    r = 32
    lora_alpha = 64
    learning_rate = 1e-4
    learning_rate_source = "official scripts: 1e-4 (LLaMA, GLUE), 2e-4 (GPT-2), 1e-3 (CLIP)"
    dense = True
    fused = True

    seed: int = seed_option()

    def __post_init__(self) -> None:
        check_seed(self.seed)

    def count(self, factor: Factor) -> int:
        narrow, products = self._sizes(factor.site)
        return products * (factor.site.rank + narrow) if factor.role == "lora_A" else 0

    def start(self, factor: Factor) -> torch.Tensor | None:
        import torch

        narrow, products = self._sizes(factor.site)
        lambdas = torch.zeros(products * factor.site.rank)
        return torch.cat([lambdas, torch.full((products * narrow,), 1 / narrow)])

    def factor(
        self, numbers: torch.Tensor, factor: Factor, tied: torch.Tensor | None, frozen: torch.Tensor | None
    ) -> torch.Tensor:
        delta = self._tall(factor.site, numbers) @ self._trained(factor.site, numbers)
        return delta if factor.site.outputs >= factor.site.inputs else delta.T

    def apply(
        self,
        x: torch.Tensor,
        numbers: torch.Tensor,
        factor: Factor,
        tied: torch.Tensor | None,
        frozen: torch.Tensor | None,
    ) -> torch.Tensor:
        from nolakit.methods.remade import remade_linear

        site = factor.site
        if site.outputs >= site.inputs:
            inner = remade_linear(x, lambda own: self._trained(site, own), numbers)
            return remade_linear(inner, lambda: self._tall(site, numbers.detach()))
        inner = remade_linear(x, lambda: self._tall(site, numbers.detach()).T)
        return remade_linear(inner, lambda own: self._trained(site, own).T, numbers)

    def _tall(self, site: Site, like: torch.Tensor) -> torch.Tensor:
        """The B_j side by side. # shape: (max(out, in), N rank)"""
        _, products = self._sizes(site)
        return self.random("B", (max(site.outputs, site.inputs), products * site.rank), like=like, std=1.0)

    def _trained(self, site: Site, numbers: torch.Tensor) -> torch.Tensor:
        """The diag(lambda_j) A diag(gamma_j) below each other, over sqrt(N). # shape: (N rank, d)"""
        narrow, products = self._sizes(site)
        lambdas, gammas = numbers.split([products * site.rank, products * narrow])
        a = self.random("A", (site.rank, narrow), like=numbers, std=1 / math.sqrt(products))
        return (lambdas.view(products, site.rank, 1) * gammas.view(products, 1, narrow)).mul(a).flatten(0, 1)

    @staticmethod
    def _sizes(site: Site) -> tuple[int, int]:
        """d and N."""
        narrow = min(site.outputs, site.inputs)
        return narrow, -(-narrow // site.rank)
