"""Whether coefficients have changed since weights were made from them.

On the CPU values are compared at every use: microseconds. Elsewhere a comparison waits for the device, so one
serves a whole pass over the layers: it looks at all coefficients that weights were made from, and the uses behind it
look at version counters alone. A pass begins where a factor is used that was first used earlier than the one
before it. So a change that leaves no trace (`parameter.data.copy_`, an optimizer's own kernel) is seen by the next
pass; one in the middle of a pass is not.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import torch

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

    def none_since(self, made: Made, factor: LinearFactor) -> bool:
        """Whether the factor's coefficients are still those that `made` was made from."""
        parameter, position = factor.coefficients, factor.position
        if made.parameters[position] is not parameter or parameter.dtype != made.values.dtype:
            return False
        if parameter.device.type in COMPARED_AT_EVERY_USE:
            return torch.equal(parameter, made.values[position])
        return made.current and version_of(parameter) == made.versions[position]

    def note_use(self, factor: LinearFactor) -> None:
        """A factor is used: where that begins a pass, mark what is no longer current."""
        if factor.coefficients.device.type in COMPARED_AT_EVERY_USE:
            return
        place = self.places.setdefault(factor, len(self.places))
        if place < self.last:
            self._compare([expansion.made for expansion in self.expansions if expansion.made is not None])
        self.last = place

    def _compare(self, everything: list[Made]) -> None:
        for device in {made.values.device for made in everything}:
            here = [made for made in everything if made.values.device == device and made.current]
            alike = all(p.dtype == made.values.dtype for made in here for p in made.parameters)
            same = alike and torch.equal(
                torch.cat(list(chain.from_iterable(made.parameters for made in here))),
                torch.cat([made.values.flatten() for made in here]),
            )
            for made in here:
                made.current = same


def version_of(parameter: torch.Tensor) -> int:
    """torch's count of changes in place; tensors made in inference mode have none."""
    return 0 if parameter.is_inference() else parameter._version
