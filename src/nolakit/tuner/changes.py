"""Whether coefficients have changed since weights were made from them.

On the CPU values are compared at every use: microseconds. Elsewhere a comparison waits for the device, so one
serves a whole pass over the layers: it looks at all coefficients that weights were made from, and the uses behind it
look at version counters alone. A pass begins where a factor is used that was first used earlier than the one
before it. So a change that leaves no trace (`parameter.data.copy_`, an optimizer's own kernel) is seen by the next
pass; one in the middle of a pass is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from nolakit.tuner.expansion import Expansion, Made
    from nolakit.tuner.factor import LinearFactor

COMPARED_AT_EVERY_USE = {"cpu"}  # types of devices


class Changes:
    """Changes of one adapter's coefficients."""

    def __init__(self) -> None:
        self.expansions: list[Expansion] = []
        self.places: dict[LinearFactor, int] = {}  # in the order of their first use
        self.last = -1

    def none_since(self, made: Made, parameter: nn.Parameter) -> bool:
        """Whether a parameter still has the values that `made` was made from."""
        place = made.places.get(id(parameter))
        if (
            place is None
            or made.parameters[place] is not parameter
            or parameter.dtype != made.values[place].dtype
        ):
            return False
        if parameter.device.type in COMPARED_AT_EVERY_USE:
            return torch.equal(parameter, made.values[place])
        return made.current and version_of(parameter) == made.versions[place]

    def note_use(self, factor: LinearFactor, device: torch.device) -> None:
        """A factor is used: where that begins a pass, mark what is no longer current."""
        if device.type in COMPARED_AT_EVERY_USE:
            return
        place = self.places.setdefault(factor, len(self.places))
        if place < self.last:
            self._compare([expansion.made for expansion in self.expansions if expansion.made is not None])
        self.last = place

    def _compare(self, everything: list[Made]) -> None:
        compared = [made for made in everything if made.current and made.values]
        for device in {made.values[0].device for made in compared}:
            here = [made for made in compared if made.values[0].device == device]
            pairs = [pair for made in here for pair in zip(made.parameters, made.values, strict=True)]
            same = all(parameter.dtype == value.dtype for parameter, value in pairs) and torch.equal(
                torch.cat([parameter for parameter, _ in pairs]), torch.cat([value for _, value in pairs])
            )
            for made in here:
                made.current = same


def version_of(parameter: torch.Tensor) -> int:
    """torch's count of changes in place; tensors made in inference mode have none."""
    return 0 if parameter.is_inference() else parameter._version
