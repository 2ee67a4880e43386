"""Uni-LoRA: every entry of every LoRA factor is one of d trained numbers, chosen at random.

    [lora_A_1, lora_B_1, lora_A_2, ...] = P theta,   P (D, d),  P[p, j] = 1 / sqrt(n_j) where index(p) = j, else 0

The D entries are those of all modules by path, lora_A before lora_B, flattened. Each j is chosen n_j times, which is
floor(D / d) or once more, so that the columns of P are orthonormal. Trained: theta, d numbers for the whole adapter,
held by lora_A of the first module. Published without a scaling: lora_alpha = r.

theta starts at U(-0.02, 0.02), `random("theta")`. The update is NOT zero at the start, because both factors are made
of the same numbers, whose zero is a saddle; its entries have a standard deviation of about sqrt(r) 0.02^2 / (3 n), 7e-5
at r 4 and n 4.

Source: Li et al., arXiv 2506.00799. Indices are balanced, as in the official code and PEFT, where the paper draws each
by itself; they are the portable basis' (stream `indices`), not numpy's. Making them sorts D integers, some 0.1 us each,
so a bound method keeps them, in 4 bytes each, as much as the factors themselves. They are in no file, copy or pickle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, ClassVar

from nolakit import basis
from nolakit.basis.streams import check_seed
from nolakit.methods.base import Method
from nolakit.methods.options import check_positive_integer, option, seed_option
from nolakit.methods.site import ROLES, Factor

if TYPE_CHECKING:
    import torch

START_BOUND = 0.02


@dataclass(frozen=True)
class UniLora(Method):
    """Uni-LoRA's options: see the module's equations. Published: theta_d_length 524,288 for 7B models, 23,040 for
    GLUE, 72,000 for ViT."""

    name = "unilora"
    title = "Uni-LoRA"
    update = "B A, each entry one of d numbers, chosen at random"
    trained = "theta_d_length in all"
    source = "arXiv 2506.00799"
    r = 4
    learning_rate = 8e-4
    learning_rate_source = (
        "arXiv 2506.00799, official scripts: 8e-4 (LLaMA-2), 2e-3 (mathematics), 5e-3 (GLUE)"
    )

    _indices: ClassVar[dict[Any, Any]]  # of each instance, by device

    seed: int = seed_option()
    theta_d_length: int = option(524_288, "Trained numbers, d; at most the D that LoRA would train")

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_positive_integer("theta_d_length", self.theta_d_length)
        object.__setattr__(self, "_indices", {})

    @cached_property
    def _places(self) -> dict[Factor, slice]:
        """Where each factor's entries are among all."""
        every = [Factor(role, site) for site in self.sites for role in ROLES]
        ends = accumulate(factor.size for factor in every)
        return {factor: slice(end - factor.size, end) for factor, end in zip(every, ends, strict=True)}

    @cached_property
    def _sizes(self) -> tuple[int, int]:
        """D and d."""
        entries = sum(place.stop - place.start for place in self._places.values())
        return entries, min(self.theta_d_length, entries)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_indices": {}}

    def owner(self, factor: Factor) -> Factor:
        return Factor("lora_A", self.sites[0])

    def count(self, factor: Factor) -> int:
        return self._sizes[1] if factor == self.owner(factor) else 0

    def start(self, factor: Factor) -> torch.Tensor | None:
        import torch

        return START_BOUND * self.random("theta", (self.count(factor),), like=torch.empty(0))

    def indices(self, device: torch.device) -> torch.Tensor:
        """index(p) of every entry. # shape: (D,) int32"""
        if device not in self._indices:
            address = {"seed": self.seed, "stream": basis.stream_number("indices")}
            self._indices[device] = basis.balanced_indices(*self._sizes, **address, device=device)
        return self._indices[device]

    def factors(
        self,
        numbers: Sequence[torch.Tensor],
        factors: Sequence[Factor],
        tied: torch.Tensor | None = None,
        frozen: Sequence[torch.Tensor | None] | None = None,
    ) -> Sequence[torch.Tensor]:
        import torch

        assert tied is not None
        indices = self.indices(tied.device)
        chosen = torch.cat([indices[self._places[factor]] for factor in factors])
        entries, length = self._sizes
        times = torch.full_like(tied, entries // length)
        times[: entries % length] += 1
        made = (tied * times.rsqrt()).index_select(0, chosen).split([factor.size for factor in factors])
        return [matrix.view(factor.dims) for matrix, factor in zip(made, factors, strict=True)]
