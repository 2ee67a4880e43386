"""Frozen parts of a layer's factors that are computed from its base weight, when they are first needed.

Stored ones are buffers of the factors instead (`LinearFactor.frozen`), and come with the adapter's file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from peft.utils.integrations import dequantize_bnb_weight, dequantize_module_weight
from torch import nn

from nolakit.adapter.frozen import check_number, check_site, parts_of
from nolakit.methods.base import Method
from nolakit.methods.site import Role, Site
from nolakit.tuner.changes import version_of

if TYPE_CHECKING:
    from nolakit.tuner.factor import LinearFactor


@dataclass(eq=False)
class FrozenParts:
    """The frozen parts of one layer.

    base: the layer under the adapter.
    measured_by: the factor whose buffer `measured` holds what calibration measured, if it measures.
    expected: the check number that the adapter was stored with.
    """

    method: Method
    site: Site
    base: nn.Module
    measured_by: LinearFactor
    expected: float | None = None
    made: dict[Role, torch.Tensor] = field(default_factory=dict)
    made_from: tuple[int, int] | None = None

    def part(self, role: Role) -> torch.Tensor | None:
        """The part of one factor, float32.

        Raises:
            BaseNeededError, BaseMismatchError: as `nolakit.adapter.frozen` has it.
        """
        measured = self.measured_by.measured
        source = None if measured is None else (id(measured), version_of(measured))
        if not self.made or self.made_from != source:
            weight = weight_matrix(self.base, self.site)
            made = parts_of(self.method, self.site, weight, measured)
            check_site(self.expected, check_number(self.site, made), self.site)
            self.made, self.made_from = made, source
        return self.made.get(role)

    @property
    def number(self) -> float:
        """The check number of the parts."""
        if not self.made:
            self.part("lora_A")
        return check_number(self.site, self.made)


def weight_matrix(base: nn.Module, site: Site) -> torch.Tensor | None:
    """The weight of a layer of any kind as a float matrix, or None where it has no values. # shape: (out, in)"""
    weight = float_weight(base).detach()
    if weight.device.type == "meta" or weight.numel() != site.outputs * site.inputs:
        return None
    transposed = type(base).__name__ == "Conv1D"  # transformers', whose weight is (in, out)
    return (weight.T if transposed else weight.reshape(site.outputs, site.inputs)).float()


def float_weight(base: Any) -> torch.Tensor:
    """The weight of a layer that may be quantised and may have been used, which leaves the layer as it is.

    After a forward on the CPU, PEFT's function takes the scales from bitsandbytes' 8-bit layers, and reads 4-bit ones
    in the order that their kernel wants. Tried on PEFT 0.21.2 and bitsandbytes 0.50.
    """
    kind = type(getattr(base, "weight", None)).__name__
    if kind == "Int8Params":
        return dequantize_bnb_weight(base.weight, state=base.state)
    if kind == "Params4bit":
        base.state_dict()  # puts them back in order
    return dequantize_module_weight(base)
