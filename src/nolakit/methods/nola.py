"""NOLA: LoRA's factors as linear combinations of frozen random matrices that a seed regenerates.

    lora_A = A0 + 1 / sqrt(k) sum_{i<k} alpha_i A_i      A_i (rank, in),  entries U(-1, 1) in 256 steps
    lora_B =      1 / sqrt(l) sum_{j<l} beta_j  B_j      B_j (out, rank), entries U(-1, 1) in 256 steps
    A0 = U(-1/sqrt(in), 1/sqrt(in)), each module's own

Trained: k + l numbers a module, or a `budget` in all that is spread over the factors; zero at the start, so that the
update is exactly zero at step 0. Only they and the seed are stored. Source: Koohpayegani et al., ICLR 2024, arXiv
2310.02556; A0, the zero start and 1 / sqrt(k) are those of the official LLaMA code, which the published language
results come from.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nolakit import basis
from nolakit.basis.streams import check_seed
from nolakit.methods.base import Method
from nolakit.methods.budget import Budget
from nolakit.methods.options import check_flag, check_positive_integer, option, seed_option
from nolakit.methods.site import ROLES, Factor, Role, Site

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Nola(Method):
    """NOLA's settings: see the module's equation, with k = num_basis_a and l = num_basis_b, or num_basis for both.

    Published: LLaMA-2 r=16, lora_alpha=4, lr 1e-3, num_basis 128 / 256 / 512 for 7B / 13B / 70B; GPT-2 M r=8,
    lora_alpha=8, num_basis=512, lr 5e-3. The rank costs no trained numbers.
    """

    name = "nola"
    title = "NOLA"
    update = "B A, both linear combinations of frozen random matrices"
    trained = "num_basis_a + num_basis_b a module"
    source = "arXiv 2310.02556"
    r = 16
    learning_rate = 1e-2
    learning_rate_source = "measured, docs/quality.md; official scripts: 1e-3 (LLaMA-2) to 1e-2 (GPT-2 L)"
    grouped = True
    exact = True
    replayable = True

    seed: int = seed_option()
    num_basis: int = option(128, "Frozen random matrices for each factor")
    num_basis_a: int | None = option(None, "num_basis for lora_A alone")
    num_basis_b: int | None = option(None, "num_basis for lora_B alone")
    share_basis: bool = option(True, "One basis for all modules, which a kernel makes once for many")

    budget: int | None = option(None, "Trained numbers in all, in place of num_basis")
    budget_by: str | None = option(None, "What a factor's share of budget follows: size, equal, gradient")
    budget_weights: dict | list | None = option(  # noqa: RUF009 - what it makes is a field
        None, "By gradient: each module's weight, by path; stored in their order"
    )

    def __post_init__(self) -> None:
        for count in (self.num_basis, *self._each().values()):
            check_positive_integer("num_basis", count)
        check_seed(self.seed)
        check_flag("share_basis", self.share_basis)
        self._budget()

    def bind(self, sites: Sequence[Site]) -> Nola:
        bound, budget = super().bind(sites), self._budget()
        if budget is not None:
            every = (Factor(role, site) for site in bound.sites for role in ROLES)
            object.__setattr__(bound, "counts", budget.counts({factor: factor.size for factor in every}))
        return bound

    def uniform(self) -> dict[Role, int] | None:
        return self._each() if self.budget is None else None

    def _each(self) -> dict[Role, int]:
        k, l = self.num_basis_a, self.num_basis_b  # noqa: E741 - the paper's letters
        return {"lora_A": self.num_basis if k is None else k, "lora_B": self.num_basis if l is None else l}

    def _budget(self) -> Budget | None:
        return Budget.from_options(self.budget, self.budget_by, self.budget_weights)

    def count(self, factor: Factor) -> int:
        return self._each()[factor.role] if self.budget is None else self.counts[factor]

    def group(self, factor: Factor) -> Hashable:
        """Factors of one role, size and count that share a basis: it is generated once for all of them."""
        return (factor.role, factor.dims, self.count(factor)) if self.share_basis else factor

    def factors(
        self,
        numbers: Sequence[torch.Tensor],
        factors: Sequence[Factor],
        tied: torch.Tensor | None = None,
        frozen: Sequence[torch.Tensor | None] | None = None,
    ) -> Sequence[torch.Tensor]:
        import torch

        return self._with_offsets(
            basis.combine(torch.stack(tuple(numbers)), **self._address(factors[0])), factors
        )

    def integer_factors(self, numbers: basis.Integers, factors: Sequence[Factor]) -> Sequence[torch.Tensor]:
        """Equal bits on every backend and device: exact sums S of integers, then two float32 steps.

        lora = A0 + float32(S) s,   s = float32(scale / (256 sqrt(k))) from float64
        """
        sums = basis.combine_integers(numbers.values, **self._address(factors[0]))
        unit = 256 * math.sqrt(numbers.values.shape[1])
        steps = (numbers.scales.double() / unit).float()
        return self._with_offsets(sums.float() * steps[:, None], factors)

    def _address(self, first: Factor) -> dict[str, Any]:
        stream = basis.stream_number(first.role, None if self.share_basis else first.path)
        return {"seed": self.seed, "stream": stream, "size": first.size}

    def _with_offsets(self, sums: torch.Tensor, factors: Sequence[Factor]) -> list[torch.Tensor]:
        rows = list(sums.unbind())
        if factors[0].role == "lora_A":
            rows = [row + self.offset(factor, sums.device) for row, factor in zip(rows, factors, strict=True)]
        return [row.view(factor.dims) for row, factor in zip(rows, factors, strict=True)]

    def offset(self, factor: Factor, device: torch.device) -> torch.Tensor:
        """A0, flattened: the first vector of the module's own stream over sqrt(in), float32.
        # shape: (rank * in,)"""
        stream = basis.stream_number("lora_A0", factor.path)
        bound = 1 / math.sqrt(factor.fan_in)
        return basis.vector(factor.size, seed=self.seed, stream=stream, bound=bound, device=device)
