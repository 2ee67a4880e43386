"""Weights of factors that share a basis, made together and only when their coefficients have changed.

A step of training asks for a weight many times: for each micro-batch, and again where a checkpointed layer runs
its forward anew. All of them get the same tensor, whose graph saves nothing for the backward pass and so can be
walked any number of times. Its one node sums the gradients of all uses and all layers before it projects them,
once a backward.

"Changed" is decided by comparing values, not version counters: `parameter.data.copy_`, which hotswapping and some
optimizers use, leaves no trace in those. On the CPU that costs microseconds. Elsewhere it would wait for the
device, so there each weight is computed when it is asked for; and so it is while torch.compile traces, which
finds repeated work itself, and for sharded or replaced parameters.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from nolakit.tuner.factor import LinearFactor


@dataclass
class _Made:
    """What was made together: of these parameters, with these values, in this mode."""

    mode: tuple[bool, bool]
    parameters: list[nn.Parameter]
    values: torch.Tensor  # shape: (factors, count)
    weights: list[torch.Tensor]

    def weight_of(self, position: int, parameter: nn.Parameter) -> torch.Tensor | None:
        """The weight, if `parameter` is the same object and has the same values as it had."""
        known = self.parameters[position] is parameter and parameter.dtype == self.values.dtype
        return self.weights[position] if known and torch.equal(parameter, self.values[position]) else None


@dataclass(eq=False)
class Expansion:
    """Factors of one adapter that their method makes together (`Method.group`)."""

    factors: list[LinearFactor] = field(default_factory=list)
    made: _Made | None = None

    def weight(self, factor: LinearFactor) -> torch.Tensor:
        """The factor's weight, in its coefficients' dtype; from what was made before where that still holds."""
        parameter = factor.coefficients
        if torch.compiler.is_compiling() or not _comparable(parameter):
            return factor.compute()
        mode = (torch.is_grad_enabled() and parameter.requires_grad, torch.is_inference_mode_enabled())
        if self.made is not None and self.made.mode == mode:
            weight = self.made.weight_of(factor.position, parameter)
            if weight is not None:
                return weight
        parameters = [member.coefficients for member in self.factors]
        if not all(_comparable(other) and _alike(other, parameter) for other in parameters):
            return factor.compute()
        stacked = torch.stack(tuple(parameters))
        made = factor.method.factors(stacked, [member.shape for member in self.factors])
        weights = [weight.to(parameter.dtype) for weight in made]
        self.made = _Made(mode, parameters, stacked.detach(), weights)
        return weights[factor.position]

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles start with nothing made: tensors inside a graph are neither."""
        return {"factors": self.factors, "made": None}


def share_expansions(factors: Iterable[LinearFactor]) -> None:
    """Give each group of one adapter's factors an expansion in common."""
    groups: dict[Hashable, Expansion] = {}
    for factor in factors:
        expansion = groups.setdefault(factor.method.group(factor.shape), Expansion())
        factor.expansion, factor.position = expansion, len(expansion.factors)
        expansion.factors.append(factor)


def _comparable(parameter: nn.Parameter) -> bool:
    """Whether values can be compared without waiting for a device: not sharded, not replaced by a transform."""
    return type(parameter) is nn.Parameter and parameter.device.type == "cpu"


def _alike(parameter: nn.Parameter, other: nn.Parameter) -> bool:
    return parameter.dtype == other.dtype and parameter.requires_grad == other.requires_grad
