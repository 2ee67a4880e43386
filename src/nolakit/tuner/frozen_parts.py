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
    made_from: tuple[torch.Tensor, int, torch.Tensor] | None = None  # measured, its version, its values

    def part(self, role: Role) -> torch.Tensor | None:
        """The part of one factor, float32, on the device of the adapter's numbers.

        Raises:
            BaseNeededError, BaseMismatchError: as `nolakit.adapter.frozen` has it.
        """
        measured = self.measured_by.measured
        if not self.made or not self._made_from(measured):
            weight = weight_matrix(self.base, self.site)
            made = parts_of(self.method, self.site, weight, measured)
            check_site(self.expected, check_number(self.site, made), self.site)
            self.made = made
            if measured is not None:
                self.made_from = measured, version_of(measured), measured.clone()
        device = self.measured_by.expansion.like(self.measured_by).device
        if device.type != "meta" and any(part.device != device for part in self.made.values()):
            self.made = {role: part.to(device) for role, part in self.made.items()}  # the model was moved
        return self.made.get(role)

    def _made_from(self, measured: torch.Tensor | None) -> bool:
        """Whether the parts were made from what is measured now; moved to another device it is another tensor."""
        if measured is None or self.made_from is None:
            return measured is None
        if torch.compiler.is_compiling():
            return True  # versions are nothing that a compiler traces, and calibration comes before it
        then, version, values = self.made_from
        if measured is not then or version_of(measured) != version:
            if not torch.equal(measured.cpu(), values.to("cpu", measured.dtype)):
                return False
            self.made_from = measured, version_of(measured), values
        return True

    @property
    def number(self) -> float:
        """The check number of the parts."""
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
    put_in_order(base)
    return dequantize_module_weight(base)


def put_in_order(base: nn.Module) -> None:
    """Undo what bitsandbytes did to a 4-bit layer in an evaluation on the CPU: its kernel there passes no gradient."""
    if any(type(parameter).__name__ == "Params4bit" for parameter in base.parameters(recurse=False)):
        base.state_dict()  # which puts the weight in order first
