"""LoRA-Mini: each factor of LoRA is a small trained matrix and a wide frozen one.

    lora_A = A_tr A_aux,  A_tr (rank, a) trained, A_aux (a, in) frozen, U(-1/sqrt(in), 1/sqrt(in))
    lora_B = B_aux B_tr,  B_tr (b, rank) trained, B_aux (out, b) frozen, U(-sqrt(3 / b), sqrt(3 / b))

Trained: rank (a + b) numbers a module, whatever its size. A_tr starts at U(-1/sqrt(a), 1/sqrt(a)), B_tr at zero, so
that the update is. The frozen matrices are each module's own: vector i of the stream `lora_A/path` is row i of A_aux,
of `lora_B/path` column i of B_aux, so that they are made inside the product and never held. A_tr starts as
`random("start", path)`; B_tr lies transposed, (rank, b).

Source: Singh et al., arXiv 2411.15804. Neither the distribution of the frozen matrices nor starts, lora_alpha and
learning rate are published; here A_aux is as LoRA's A, B_aux keeps the size of what passes through it, and the scaling
is LoRA's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nolakit import basis
from nolakit.basis.streams import check_seed
from nolakit.errors import ConfigError
from nolakit.methods.base import Method
from nolakit.methods.options import check_positive_integer, option, seed_option
from nolakit.methods.site import Factor, Site

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class LoraMini(Method):
    """LoRA-Mini's options: see the module's equations."""

    name = "lora_mini"
    title = "LoRA-Mini"
    update = "B_aux B_tr A_tr A_aux; the outer two frozen random"
    trained = "rank (a + b) a module"
    source = "arXiv 2411.15804"
    lora_alpha = 16
    learning_rate = 2e-3
    learning_rate_source = "ours, none is published: ten times LoRA's 2e-4"

    seed: int = seed_option()
    aux_a: int = option(64, "Rows of the frozen matrix of lora_A, a")
    aux_b: int = option(64, "Columns of the frozen matrix of lora_B, b")

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_positive_integer("aux_a", self.aux_a)
        check_positive_integer("aux_b", self.aux_b)

    def check_site(self, site: Site) -> None:
        super().check_site(site)
        if self.aux_a > site.inputs or self.aux_b > site.outputs:
            raise ConfigError(
                f"found aux_a={self.aux_a}, aux_b={self.aux_b} for the {site.outputs} x {site.inputs} weight of "
                f"{site.path!r}; expected at most {site.inputs} and {site.outputs}"
            )

    def count(self, factor: Factor) -> int:
        return factor.site.rank * (self.aux_a if factor.role == "lora_A" else self.aux_b)

    def start(self, factor: Factor) -> torch.Tensor | None:
        import torch

        if factor.role == "lora_B":
            return None
        std = (3 * self.aux_a) ** -0.5
        return self.random("start", (self.count(factor),), path=factor.path, like=torch.empty(0), std=std)

    def factor(
        self, numbers: torch.Tensor, factor: Factor, tied: torch.Tensor | None, frozen: torch.Tensor | None
    ) -> torch.Tensor:
        site, is_a = factor.site, factor.role == "lora_A"
        size = site.inputs if is_a else site.outputs
        stream = basis.stream_number(factor.role, factor.path)
        made = basis.combine(numbers.view(site.rank, -1), seed=self.seed, stream=stream, size=size)
        # combine divides by sqrt(a) or sqrt(b), of entries U(-1, 1)
        return made * (self.aux_a / site.inputs) ** 0.5 if is_a else made.T * 3**0.5
