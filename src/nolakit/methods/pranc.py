"""PRANC: an update, or a whole network, as one linear combination of frozen random networks.

    Delta = sum_{j<k} a_j theta_j,   theta_j: entries U(-1/sqrt(fan_in), 1/sqrt(fan_in)), torch's initial weights

Trained: k = num_basis numbers a_j for all modules together (`whole_network`), which the first by path holds beside its
lora_A, or k for each module. The update is linear in them and zero at the start. theta_j of a module is vector j of the
stream `theta/path`, over sqrt(fan_in), either way. The rank has no meaning here.

With `from_scratch` the weights and biases of the targeted layers count as zero, whatever the base holds, and training
starts at a_0 = 1, the rest zero: an ordinary initial network, theta_0. Normalisation layers with running statistics
are trained whole and stored beside the numbers, so that any fresh model of the architecture loads the result.

Source: Nooralinejad et al., ICCV 2023, arXiv 2206.08464. Its official code combines biases too, which here stay at
zero, or are trained whole with bias="lora_only"; its code for many layers starts each at random numbers, over theta_j
of standard deviation 0.001, where both ways are alike here. An update of a trained base is ours.

Cost: k multiply-adds for each weight, forward and backward, once a step however many batches it accumulates.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nolakit import basis
from nolakit.basis.streams import check_seed
from nolakit.methods.base import Method
from nolakit.methods.options import check_flag, check_positive_integer, option, seed_option
from nolakit.methods.site import Factor

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Pranc(Method):
    """PRANC's options: see the module's equations. Published: k 1,000 to 60,000 for convolutional networks."""

    name = "pranc"
    title = "PRANC"
    update = "sum_j a_j theta_j; theta_j frozen random networks"
    trained = "num_basis for the network, or for each module"
    source = "arXiv 2206.08464"
    degree = "linear"
    learning_rate = 1e-3
    learning_rate_source = "official configurations: 1e-3, halved every 50 epochs"
    dense = True
    replayable = True

    seed: int = seed_option()
    num_basis: int = option(1000, "Frozen random networks")
    whole_network: bool = option(True, "One vector of numbers for all modules, not one each")
    from_scratch: bool = option(False, "The targeted layers' own weights and biases count as zero")

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_positive_integer("num_basis", self.num_basis)
        check_flag("whole_network", self.whole_network)
        check_flag("from_scratch", self.from_scratch)

    @property
    def replaces_weights(self) -> bool:
        return self.from_scratch

    def owner(self, factor: Factor) -> Factor | None:
        return Factor("lora_A", self.sites[0]) if self.whole_network and factor.role == "lora_A" else None

    def count(self, factor: Factor) -> int:
        own = factor.role == "lora_A" and (not self.whole_network or factor.site == self.sites[0])
        return self.num_basis if own else 0

    def start(self, factor: Factor) -> torch.Tensor | None:
        import torch

        return torch.eye(1, self.num_basis)[0] if self.from_scratch else None

    def group(self, factor: Factor) -> Hashable:
        """Each by itself: modules have nothing in common that would be made once."""
        return factor

    def factor(
        self, numbers: torch.Tensor, factor: Factor, tied: torch.Tensor | None, frozen: torch.Tensor | None
    ) -> torch.Tensor:
        site = factor.site
        stream = basis.stream_number("theta", site.path)
        size = site.outputs * site.inputs
        made = basis.combine(numbers if tied is None else tied, seed=self.seed, stream=stream, size=size)
        scale = math.sqrt(self.num_basis / site.inputs)  # combine divides by sqrt(k)
        return (
            made.new_zeros(()).add(made, alpha=scale).view(site.outputs, site.inputs)
        )  # a product saves a tensor
