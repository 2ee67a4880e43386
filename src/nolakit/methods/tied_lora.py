"""Tied-LoRA: all layers share LoRA's two factors, and each has diagonals of its own between and behind them.

    lora_A = diag(u) A    A (rank, in)  shared, u (rank) the module's own
    lora_B = diag(v) B    B (out, rank) shared, v (out)  the module's own

Shared by the modules of equal shape whose paths end in one name: all q_proj, all v_proj. Trained by default, the
paper's TL6: A, B, u and v, rank (in + out) numbers a kind of module and rank + out a module; `train_a` and so on freeze
one. The first of B, v, A, u that is trained starts at zero, so that the update does. Otherwise u and v are 1, A is
U(-1/sqrt(in), 1/sqrt(in)) and B U(-1/sqrt(rank), 1/sqrt(rank)), at the start or frozen: `random("lora_A")` and
`random("lora_B")`, equal for equal shapes. With u and v alone this is VeRA up to scales. A lies with the kind's first
module by path, behind its u, and B behind its v.

Source: Renduchintala, Konuk, Kuchaiev, NAACL 2024, arXiv 2311.09578; there is no official code. The paper ties the one
fused projection that each of its layers has. Starts and scaling, which is LoRA's, are ours.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from nolakit.basis.streams import check_seed
from nolakit.errors import ConfigError
from nolakit.methods.base import Method
from nolakit.methods.options import check_flag, option
from nolakit.methods.site import Factor, Site

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class TiedLora(Method):
    """Tied-LoRA's options: see the module's equations. Published: r 2 to 128."""

    name = "tied_lora"
    title = "Tied-LoRA"
    update = "diag(v) B diag(u) A; A, B shared by the layers"
    trained = "rank (in + out) a kind of module, rank + out a module"
    source = "arXiv 2311.09578"
    degree = "other"
    learning_rate = 1e-3
    learning_rate_source = "ours, between LoRA's and VeRA's; arXiv 2311.09578 searches for each task"

    seed: int = option(0, "Draws A and B")
    train_a: bool = option(True, "Train A")
    train_b: bool = option(True, "Train B")
    train_u: bool = option(True, "Train u")
    train_v: bool = option(True, "Train v")

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for name in ("train_a", "train_b", "train_u", "train_v"):
            check_flag(name, getattr(self, name))
        if not self._trained:
            raise ConfigError("found none of A, B, u and v to train; expected at least one")

    @property
    def _trained(self) -> str:
        """Letters of what is trained, the one that starts at zero first."""
        return "".join(letter for letter in "BvAu" if getattr(self, f"train_{letter.lower()}"))

    @cached_property
    def _first(self) -> dict[Hashable, Site]:
        """The first module of each kind."""
        found: dict[Hashable, Site] = {}
        for site in self.sites:
            found.setdefault(_kind(site), site)
        return found

    def owner(self, factor: Factor) -> Factor | None:
        shared = self.train_a if factor.role == "lora_A" else self.train_b
        return Factor(factor.role, self._first[_kind(factor.site)]) if shared else None

    def count(self, factor: Factor) -> int:
        return self._own(factor) + (factor.size if self.owner(factor) == factor else 0)

    def _own(self, factor: Factor) -> int:
        """Trained numbers of the diagonal."""
        trained = self.train_u if factor.role == "lora_A" else self.train_v
        return factor.dims[0] if trained else 0

    def start(self, factor: Factor) -> torch.Tensor | None:
        import torch

        matrix, diagonal = "Au" if factor.role == "lora_A" else "Bv"
        own = torch.full((self._own(factor),), float(diagonal != self._trained[0]))
        if self.owner(factor) != factor:
            return own
        return torch.cat((own, self._drawn(factor, own).flatten() * float(matrix != self._trained[0])))

    def _drawn(self, factor: Factor, like: torch.Tensor) -> torch.Tensor:
        dims = (factor.dims[0], factor.fan_in)
        return self.random(factor.role, dims, like=like, std=(3 * factor.fan_in) ** -0.5)

    def factor(
        self, numbers: torch.Tensor, factor: Factor, tied: torch.Tensor | None, frozen: torch.Tensor | None
    ) -> torch.Tensor:
        if tied is None:
            shared = self._drawn(factor, numbers)
        else:
            shared = tied[len(tied) - factor.size :].view(factor.dims[0], factor.fan_in)
        own = self._own(factor)
        return numbers[:own, None] * shared if own else shared


def _kind(site: Site) -> Hashable:
    return site.path.rpartition(".")[2], site.lora_A, site.lora_B
