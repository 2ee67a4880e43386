"""Basis convolution: a layer's update as trained combinations of the leading filters of its own weight.

    lora_A = F (Q, in),   lora_B = c (out, Q),   F = the Q leading right singular vectors of W (out, in), Q = r

F are Q orthonormal filters of the layer's own kernel, frozen; c combines them in a convolution of 1 x 1, or, on linear
layers, in a matrix. With `train_basis` F is trained too, from there: Delta = (w + c) (F + E) - w F, w = W F^T, which
are factors of rank 2 Q: lora_A = [F + E; E], lora_B = [c, w].

Trained: c, out Q numbers a module, and with `train_basis` E, Q in more. Both are zero at the start, where the update is
zero and its gradient is not. The sources put w F in the place of W, which loses what the other directions hold, and
train w: here W stays, and c is their w less its start. Not scaled: lora_alpha = r. Grouped convolutions are refused.

Source: Tayyab and Mahalanobis, arXiv 1906.04509 (c alone) and arXiv 2105.10436, ICIP 2021 (`train_basis`); F and w as
in the official code. `nolakit.energy_ranks` chooses Q for each layer by the share of its energy, as that code does.
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
class BasisConv(Between):
    """Options of basis convolution: see the module's equations."""

    name = "basis_conv"
    title = "Basis convolution"
    update = "c F; F the leading right singular vectors of the weight, trained too with train_basis"
    trained = "out r a module"
    source = "arXiv 1906.04509, 2105.10436"
    degree = "linear"
    r = 8
    learning_rate = 3e-3
    learning_rate_source = (
        "own choice: 46 % for MiniLM, 1e-3 gave 44 %; the official code trains by SGD at 1e-2"
    )

    train_basis: bool = option(False, "Train the filters too")
    store_frozen: bool = option(False, "Store the filters with the adapter")

    def __post_init__(self) -> None:
        check_flag("train_basis", self.train_basis)
        check_flag("store_frozen", self.store_frozen)
        if self.train_basis:
            object.__setattr__(self, "degree", "quadratic")

    def rank(self, site: Site) -> int:
        return 2 * site.rank if self.train_basis else site.rank

    def count(self, factor: Factor) -> int:
        site = factor.site
        if factor.role == "lora_B":
            return site.outputs * site.rank
        return site.rank * site.inputs if self.train_basis else 0

    def frozen_dims(self, factor: Factor) -> tuple[int, int] | None:
        return super().frozen_dims(factor) if factor.role == "lora_A" or self.train_basis else None

    def frozen(
        self, site: Site, weight: torch.Tensor, measured: torch.Tensor | None = None
    ) -> dict[Role, torch.Tensor]:
        u, s, v = leading_singular(weight, site.rank)
        return {"lora_A": v.T, "lora_B": u * s} if self.train_basis else {"lora_A": v.T}

    def factor(
        self, numbers: torch.Tensor, factor: Factor, tied: torch.Tensor | None, frozen: torch.Tensor | None
    ) -> torch.Tensor:
        import torch

        site = factor.site
        if factor.role == "lora_B":
            c = numbers.view(site.outputs, site.rank)
            return c if frozen is None else torch.cat([c, frozen], dim=1)
        assert frozen is not None
        if not self.train_basis:
            return frozen
        change = numbers.view(site.rank, site.inputs)
        return torch.cat([frozen + change, change])
