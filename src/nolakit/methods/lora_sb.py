"""LoRA-SB: LoRA-XS's shape between the singular vectors of the first step that full fine-tuning would take.

    lora_A = V_r^T (rank, in),   lora_B = U_r R (out, rank),   T = -first_step sign(G) ~ U_r diag(S_r) V_r^T

G is the gradient of the base's weight, summed over batches by `nolakit.calibrate`; T is AdamW's first step on it.
Trained: R, rank^2 numbers a module. It starts at diag(S_r), so that the update is the best approximation of T of its
rank: not zero, as an exception to the rule, but one small step, and the base stays as it is. U and V are orthonormal
and nothing scales them (lora_alpha = r), so that the gradient of R is that of the weight, projected.

U and V are stored with the adapter, rank (in + out) numbers a module, since they cannot be computed again without the
data. Over a `coefficient_basis` R starts at zero.

Source: Ponkshe et al., arXiv 2411.19557. The official code takes the learning rate over the steps of its warm-up as
`first_step`, which is about the learning rate in its scripts: 1e-4 (mathematics), 2e-3 (commonsense).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nolakit.errors import ConfigError
from nolakit.methods.base import Calibration
from nolakit.methods.between import Between
from nolakit.methods.options import option
from nolakit.methods.singular import leading_singular
from nolakit.methods.site import Factor, Role, Site

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class LoraSb(Between):
    """LoRA-SB's options: see the module's equations. Published: r 96 for LLMs, 24 for GLUE."""

    name = "lora_sb"
    title = "LoRA-SB"
    update = "U_r R V_r^T; U, V of the first gradient step's SVD"
    trained = "rank^2 a module"
    source = "arXiv 2411.19557"
    degree = "linear"
    r = 96
    learning_rate = 1e-3
    learning_rate_source = "arXiv 2411.19557: 1e-3 (GLUE), between 1e-4 (mathematics) and 2e-3 (commonsense)"

    first_step: float = option(1e-4, "Size of the entries of the step that the start approximates")

    def __post_init__(self) -> None:
        if not 0 < self.first_step < 1:
            raise ConfigError(f"found first_step={self.first_step!r}; expected a number between 0 and 1")

    @property
    def calibration(self) -> Calibration:
        return "gradient"

    def count(self, factor: Factor) -> int:
        return factor.site.rank**2 if factor.role == "lora_B" else 0

    def frozen(
        self, site: Site, weight: torch.Tensor, measured: torch.Tensor | None = None
    ) -> dict[Role, torch.Tensor]:
        assert measured is not None
        u, _, v = leading_singular(-measured.sign(), site.rank)
        return {"lora_A": v.T, "lora_B": u}

    def calibrated_start(
        self, site: Site, measured: torch.Tensor, parts: Mapping[Role, torch.Tensor]
    ) -> dict[Role, torch.Tensor]:
        core = parts["lora_B"].T @ -measured.sign() @ parts["lora_A"].T  # diag(S) / first_step
        return {"lora_B": self.first_step * core.flatten()}

    def factor(
        self, numbers: torch.Tensor, factor: Factor, tied: torch.Tensor | None, frozen: torch.Tensor | None
    ) -> torch.Tensor:
        assert frozen is not None
        rank = factor.site.rank
        return frozen if factor.role == "lora_A" else frozen @ numbers.view(rank, rank)
