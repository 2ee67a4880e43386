"""TinyLoRA: a handful of trained numbers that many modules share, between the singular vectors of each weight.

    lora_A = V_r^T (rank, in),   lora_B = U_r diag(S_r) sum_{i<u} v_i P_i (out, rank),   W ~ U_r diag(S_r) V_r^T

P_i (rank x rank) are frozen, random and each module's own, of variance 1 / rank. Trained: v, u numbers for each group
of tied modules, zero at the start; the update is linear in v, and its gradient there is not zero. `weight_tying` w
makes max(1, round(modules (1 - w))) groups of modules that follow each other (by path, numbers in their order), the
last with what is left over; 1 ties all. The first module of a group by path stores its v. Published without a scaling:
lora_alpha = r.

Source: arXiv 2602.04118. PEFT's implementation gives sqrt(S) to either side (`split_singular_values`), which is another
map: entry (a, b) of the sum is weighted sqrt(S_a S_b) and not S_a. Its P are normal, and its groups follow its
traversal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from nolakit import basis
from nolakit.basis.streams import check_seed
from nolakit.errors import ConfigError
from nolakit.methods.base import ENTRY_STD
from nolakit.methods.between import Between
from nolakit.methods.options import check_flag, check_positive_integer, option, seed_option
from nolakit.methods.singular import leading_singular
from nolakit.methods.site import Factor, Role, Site

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class TinyLora(Between):
    """TinyLoRA's options: see the module's equations. Published for reinforcement learning: r 2, u 1 to 64."""

    name = "tinylora"
    title = "TinyLoRA"
    update = "U_r S_r (sum v_i P_i) V_r^T; P frozen random, v shared by tied modules"
    trained = "u a group of modules"
    source = "arXiv 2602.04118"
    degree = "linear"
    r = 2
    learning_rate = 5e-3
    learning_rate_source = (
        "own choice for supervised training; arXiv 2602.04118 sweeps 1e-7 to 2e-4 with rewards"
    )

    first: ClassVar[Mapping[Site, Site]] = {}  # of each module's group; of a bound method

    seed: int = seed_option()
    u: int = option(64, "Trained numbers of a group of modules")
    weight_tying: float = option(0.0, "0 gives each module its own numbers, 1 all modules the same")
    split_singular_values: bool = option(False, "sqrt(S) on either side, as PEFT has it")
    store_frozen: bool = option(False, "Store the singular vectors with the adapter")

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_positive_integer("u", self.u)
        check_flag("split_singular_values", self.split_singular_values)
        check_flag("store_frozen", self.store_frozen)
        if not 0 <= self.weight_tying <= 1:
            raise ConfigError(f"found weight_tying={self.weight_tying!r}; expected a number from 0 to 1")

    def bind(self, sites: Sequence[Site]) -> TinyLora:
        bound = super().bind(sites)
        ordered = sorted(bound.sites, key=lambda site: _natural(site.path))
        groups = max(1, round(len(ordered) * (1 - self.weight_tying)))
        size = len(ordered) // groups
        first = {site: ordered[min(place // size, groups - 1) * size] for place, site in enumerate(ordered)}
        object.__setattr__(bound, "first", first)
        return bound

    def owner(self, factor: Factor) -> Factor | None:
        return Factor("lora_B", self.first[factor.site]) if factor.role == "lora_B" else None

    def count(self, factor: Factor) -> int:
        return self.u if self.owner(factor) == factor else 0

    def frozen(
        self, site: Site, weight: torch.Tensor, measured: torch.Tensor | None = None
    ) -> dict[Role, torch.Tensor]:
        u, s, v = leading_singular(weight, site.rank)
        if self.split_singular_values:
            return {"lora_A": s.sqrt()[:, None] * v.T, "lora_B": u * s.sqrt()}
        return {"lora_A": v.T, "lora_B": u * s}

    def factor(
        self, numbers: torch.Tensor, factor: Factor, tied: torch.Tensor | None, frozen: torch.Tensor | None
    ) -> torch.Tensor:
        assert frozen is not None
        return frozen if tied is None else frozen @ self.core(tied, factor)

    def core(self, numbers: torch.Tensor, factor: Factor) -> torch.Tensor:
        """sum v_i P_i. # shape: (rank, rank)"""
        rank = factor.site.rank
        stream = basis.stream_number("projection", factor.path)
        made = basis.combine(numbers, seed=self.seed, stream=stream, size=rank**2)  # by 1 / sqrt(u)
        return made.view(rank, rank) * (math.sqrt(self.u / rank) / ENTRY_STD)


def _natural(path: str) -> list[tuple[int, str]]:
    """A key that puts layer 2 before layer 10."""
    return [(len(part.lstrip("0")) if part.isdecimal() else -1, part) for part in path.split(".")]
