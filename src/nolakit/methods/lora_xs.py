"""LoRA-XS: a small trained matrix between the singular vectors of the weight.

    lora_A = diag(S_r) V_r^T (rank, in),   lora_B = U_r R (out, rank),   W ~ U_r diag(S_r) V_r^T

Trained: R, rank^2 numbers a module. The update is linear in R and zero at the start, where its gradient is not; the
official code starts at normal numbers of 1e-5, which is zero for all but exact comparisons. Nothing random is stored,
nor the singular vectors, unless `store_frozen` asks for it: they are computed again from the base, and checked.

Source: Balazy et al., arXiv 2405.17604; the singular values stand on the side of the input, as in the official code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nolakit.methods.between import Between
from nolakit.methods.options import check_flag, option
from nolakit.methods.singular import leading_singular
from nolakit.methods.site import Factor, Role, Site

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class LoraXs(Between):
    """LoRA-XS's options: see the module's equations. Published: r 4 to 25 for GLUE, 64 for mathematics."""

    name = "lora_xs"
    title = "LoRA-XS"
    update = "U_r R diag(S_r) V_r^T; U, S, V of the weight's SVD"
    trained = "rank^2 a module"
    source = "arXiv 2405.17604"
    degree = "linear"
    r = 16
    learning_rate = 2e-3
    learning_rate_source = "arXiv 2405.17604: 2e-3 (commonsense) to 4e-3 (mathematics), 1e-3 for GLUE"

    store_frozen: bool = option(False, "Store the singular vectors with the adapter")

    def __post_init__(self) -> None:
        check_flag("store_frozen", self.store_frozen)

    def count(self, factor: Factor) -> int:
        return factor.site.rank**2 if factor.role == "lora_B" else 0

    def frozen(
        self, site: Site, weight: torch.Tensor, measured: torch.Tensor | None = None
    ) -> dict[Role, torch.Tensor]:
        u, s, v = leading_singular(weight, site.rank)
        return {"lora_A": s[:, None] * v.T, "lora_B": u}

    def factor(
        self, numbers: torch.Tensor, factor: Factor, tied: torch.Tensor | None, frozen: torch.Tensor | None
    ) -> torch.Tensor:
        assert frozen is not None
        return (
            frozen if factor.role == "lora_A" else frozen @ numbers.view(factor.site.rank, factor.site.rank)
        )
