"""NoRA, nested low-rank adaptation: a small trained LoRA inside the singular vectors of the weight.

    lora_A = diag(l) A' V_r^T (inner_rank, in),   lora_B = U_r diag(S_r) B' (out, inner_rank),   W ~ U_r diag(S_r) V_r^T

With `activation_aware` the SVD is that of W D, D = diag(a^exponent), a the mean absolute input of each column of W that
`nolakit.calibrate` measures, and V_r^T is divided by D: directions count by what passes through them. a is divided by
its geometric mean, so that D does not change the scale, and is stored: inputs numbers a module.

Trained: A' (inner_rank x r) and B' (r x inner_rank), and with `diagonal` l (inner_rank), stored behind A'. At the start
A' has orthonormal rows, l is 1 and B' is 0, so that the update is exactly zero and B' has a gradient. The paper draws
both at 1e-5, whose product no plain gradient moves; its code starts at an update that is not zero. Scaled by lora_alpha
/ sqrt(r) with the outer rank r.

Source: arXiv 2408.10280 (ICCV 2025), its code for the statistic, the side of S and the diagonal; the exponent 0.5 is
the paper's, the code's command line sets 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nolakit.basis.streams import check_seed
from nolakit.errors import ConfigError
from nolakit.methods.base import Calibration
from nolakit.methods.between import Between
from nolakit.methods.options import check_flag, check_positive_integer, option, seed_option
from nolakit.methods.singular import leading_singular
from nolakit.methods.site import Factor, Role, Site

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Nora(Between):
    """NoRA's options: see the module's equations. Published for LLaMA's q and v: r 280, inner_rank 7."""

    name = "nora"
    title = "NoRA"
    update = "U_r S_r B' diag(l) A' V_r^T; U, S, V of the weight's SVD"
    trained = "2 r inner_rank + inner_rank a module"
    source = "arXiv 2408.10280"
    degree = "other"
    r = 280
    lora_alpha = 1
    use_rslora = True
    learning_rate = 1e-2
    learning_rate_source = "arXiv 2408.10280, official scripts: 1e-2, swept down to 1e-3 (CLIP)"

    seed: int = seed_option()
    inner_rank: int = option(7, "Rank of the update, inside the outer rank r")
    diagonal: bool = option(True, "Train a diagonal between the inner factors")
    activation_aware: bool = option(False, "Weigh inputs by their size, measured on data")
    exponent: float = option(0.5, "Power of the measured sizes, with activation_aware")
    store_frozen: bool = option(False, "Store the singular vectors with the adapter")

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_positive_integer("inner_rank", self.inner_rank)
        for name in ("diagonal", "activation_aware", "store_frozen"):
            check_flag(name, getattr(self, name))
        if not self.diagonal:
            object.__setattr__(self, "degree", "quadratic")
        if not 0 <= self.exponent <= 4:
            raise ConfigError(f"found exponent={self.exponent!r}; expected a number from 0 to 4")

    @property
    def calibration(self) -> Calibration | None:
        return "activations" if self.activation_aware else None

    def check_site(self, site: Site) -> None:
        super().check_site(site)
        if self.inner_rank > site.rank:
            raise ConfigError(
                f"found inner_rank={self.inner_rank} with r={site.rank} at {site.path!r}; expected at most r"
            )

    def rank(self, site: Site) -> int:
        return self.inner_rank

    def count(self, factor: Factor) -> int:
        own = self.inner_rank if self.diagonal and factor.role == "lora_A" else 0
        return self.inner_rank * factor.site.rank + own

    def start(self, factor: Factor) -> torch.Tensor | None:
        if factor.role == "lora_B":
            return None
        import torch

        drawn = self.random(
            "inner", (factor.site.rank, self.inner_rank), like=torch.zeros(0), path=factor.path
        )
        columns, triangle = torch.linalg.qr(drawn.double())
        rows = (columns * triangle.diagonal().sign()).T.float().flatten()
        return torch.cat([rows, torch.ones(self.count(factor) - len(rows))])

    def measured_dims(self, site: Site) -> tuple[int, ...] | None:
        return (site.inputs,) if self.activation_aware and not self.store_frozen else None

    def frozen(
        self, site: Site, weight: torch.Tensor, measured: torch.Tensor | None = None
    ) -> dict[Role, torch.Tensor]:
        scale = 1.0 if measured is None else self._scale(measured)
        u, s, v = leading_singular(weight * scale, site.rank)
        return {"lora_A": v.T / scale, "lora_B": u * s}

    def _scale(self, measured: torch.Tensor) -> torch.Tensor:
        """The diagonal of D; inputs that are nearly always zero count as a millionth of the largest."""
        sizes = measured.double().clamp(min=max(1e-6 * float(measured.max()), 1e-30))
        return ((sizes.log() - sizes.log().mean()) * self.exponent).exp().float()

    def factor(
        self, numbers: torch.Tensor, factor: Factor, tied: torch.Tensor | None, frozen: torch.Tensor | None
    ) -> torch.Tensor:
        assert frozen is not None
        rank = factor.site.rank
        if factor.role == "lora_B":
            return frozen @ numbers.view(rank, self.inner_rank)
        inner = numbers[: rank * self.inner_rank].view(self.inner_rank, rank)
        return (inner * numbers[rank * self.inner_rank :, None] if self.diagonal else inner) @ frozen
