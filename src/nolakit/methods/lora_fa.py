"""LoRA-FA: LoRA whose first factor stays as it was drawn.

    lora_A = A (rank, in), frozen, each module's own: LoRA's start, U(-1/sqrt(in), 1/sqrt(in))
    lora_B = B (out, rank), trained, zero at the start

Trained: out * rank numbers a module. The update is linear in B and zero at the start. A is `random("lora_A", path)`
and never stored. The scaling is LoRA's.

Source: Zhang et al., arXiv 2308.03303, first version. The second, PEFT's `create_lorafa_optimizer` over its own LoRA,
changes the optimizer too: AdamW takes g (A A^T)^-1 / scaling^2 in place of the gradient g of B, so that a step on the
weight is the full gradient's projection on the rows of A. Here AdamW takes g. Of the A above, A A^T is nearly the
identity times 1/3 (eigenvalues of .28 to .39 for 768 inputs and rank 8), a factor that AdamW divides out, as it does
scaling^2; under SGD the two differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nolakit.basis.streams import check_seed
from nolakit.methods.base import Method
from nolakit.methods.options import seed_option
from nolakit.methods.site import Factor

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class LoraFa(Method):
    """LoRA-FA's options: see the module's equations."""

    name = "lora_fa"
    title = "LoRA-FA"
    update = "B A; A frozen random"
    trained = "out * rank a module"
    source = "arXiv 2308.03303"
    degree = "linear"
    lora_alpha = 16
    learning_rate = 3e-4
    learning_rate_source = "arXiv 2308.03303"

    seed: int = seed_option()

    def __post_init__(self) -> None:
        check_seed(self.seed)

    def count(self, factor: Factor) -> int:
        return factor.site.outputs * factor.site.rank if factor.role == "lora_B" else 0

    def factor(
        self, numbers: torch.Tensor, factor: Factor, tied: torch.Tensor | None, frozen: torch.Tensor | None
    ) -> torch.Tensor:
        site = factor.site
        if factor.role == "lora_B":
            return numbers.view(site.outputs, site.rank)
        dims = (site.rank, site.inputs)
        return self.random("lora_A", dims, path=factor.path, like=numbers, std=(3 * site.inputs) ** -0.5)
