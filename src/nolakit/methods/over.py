"""Any method over a random basis: its numbers are themselves linear combinations of frozen random vectors.

    numbers = start + 1 / sqrt(k) sum_{i<k} alpha_i b_i     b_i (count,), entries U(-1, 1) in 256 steps

Trained: k numbers in place of the `count` that a factor has, zero at the start, or a `budget` in all that is spread
over the factors; a factor of k numbers or fewer keeps its own. Over plain LoRA this is NOLA; over LoRA-XS it is NOLA
on the core between the singular vectors, over MELoRA it is NOLA on the blocks. The update starts where the method's
does.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nolakit import basis
from nolakit.basis.streams import check_seed
from nolakit.methods.base import Calibration, Method
from nolakit.methods.budget import Budget
from nolakit.methods.options import check_positive_integer
from nolakit.methods.site import ROLES, Factor, Role, Site

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Over(Method):
    """`inner` with `num_basis` trained numbers for each of its vectors of numbers, or as many as a budget gives it."""

    inner: Method
    num_basis: int | None
    seed: int
    budget: Budget | None = None

    def __post_init__(self) -> None:
        if self.budget is None:
            check_positive_integer("coefficient_basis", self.num_basis)
        check_seed(self.seed)
        for name in ("name", "title", "update", "source", "dense", "fused", "grouped", "from_weight"):
            object.__setattr__(self, name, getattr(self.inner, name))
        starts_at_zero = type(self.inner).start is Method.start
        degree = "other" if self.inner.degree == "linear" and not starts_at_zero else self.inner.degree
        object.__setattr__(self, "degree", degree)

    def bind(self, sites: Sequence[Site]) -> Over:
        bound = Over(self.inner.bind(sites), self.num_basis, self.seed, self.budget)
        if self.budget is not None:
            every = [Factor(role, site) for site in bound.sites for role in ROLES]
            counts = self.budget.counts({factor: bound.inner.count(factor) for factor in every})
            object.__setattr__(bound, "counts", counts)
        return bound

    @property
    def sites(self) -> tuple[Site, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.sites

    def count(self, factor: Factor) -> int:
        most = self.counts.get(factor, 0) if self.num_basis is None else self.num_basis
        return min(most, self.inner.count(factor))

    def owner(self, factor: Factor) -> Factor | None:
        return self.inner.owner(factor)

    def start(self, factor: Factor) -> torch.Tensor | None:
        return None if self._combined(factor) else self.inner.start(factor)

    def rank(self, site: Site) -> int:
        return self.inner.rank(site)

    def dims(self, factor: Factor) -> tuple[int, ...]:
        return self.inner.dims(factor)

    def group(self, factor: Factor) -> Hashable:
        return self.inner.group(factor)

    def factors(
        self,
        numbers: Sequence[torch.Tensor],
        factors: Sequence[Factor],
        tied: torch.Tensor | None = None,
        frozen: Sequence[torch.Tensor | None] | None = None,
    ) -> Sequence[torch.Tensor]:
        inner = [self._numbers(own, factor) for own, factor in zip(numbers, factors, strict=True)]
        return self.inner.factors(inner, factors, self._tied(tied, factors[0]), frozen)

    def apply(
        self,
        x: torch.Tensor,
        numbers: torch.Tensor,
        factor: Factor,
        tied: torch.Tensor | None,
        frozen: torch.Tensor | None,
    ) -> torch.Tensor:
        return self.inner.apply(x, self._numbers(numbers, factor), factor, self._tied(tied, factor), frozen)

    @property
    def calibration(self) -> Calibration | None:
        return self.inner.calibration

    @property
    def stores_frozen(self) -> bool:
        return self.inner.stores_frozen

    @property
    def replaces_weights(self) -> bool:
        return self.inner.replaces_weights

    def frozen_dims(self, factor: Factor) -> tuple[int, int] | None:
        return self.inner.frozen_dims(factor)

    def measured_dims(self, site: Site) -> tuple[int, ...] | None:
        return self.inner.measured_dims(site)

    def frozen(
        self, site: Site, weight: torch.Tensor, measured: torch.Tensor | None = None
    ) -> dict[Role, torch.Tensor]:
        return self.inner.frozen(site, weight, measured)

    def calibrated_start(
        self, site: Site, measured: torch.Tensor, parts: Mapping[Role, torch.Tensor]
    ) -> dict[Role, torch.Tensor]:
        """Of the factors that keep their own numbers: a combination has none that would be a given start."""
        found = self.inner.calibrated_start(site, measured, parts)
        return {role: start for role, start in found.items() if not self._combined(Factor(role, site))}

    def _combined(self, factor: Factor) -> bool:
        return self.inner.count(factor) > self.count(factor)

    def _tied(self, tied: torch.Tensor | None, factor: Factor) -> torch.Tensor | None:
        owner = self.inner.owner(factor)
        return None if tied is None or owner is None else self._numbers(tied, owner)

    def _numbers(self, numbers: torch.Tensor, factor: Factor) -> torch.Tensor:
        """The method's own numbers of a factor."""
        if not self._combined(factor):
            return numbers
        stream: Any = basis.stream_number(f"over_{factor.role}", factor.path)
        made = basis.combine(numbers, seed=self.seed, stream=stream, size=self.inner.count(factor))
        start = self.inner.start(factor)
        return made if start is None else made + start.to(made)
