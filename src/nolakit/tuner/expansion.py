"""Weights of factors that share a basis, made together and only when their coefficients have changed.

A step of training asks for a weight many times: for each micro-batch, and again where a checkpointed layer runs
its forward anew. All of them get the same tensor, whose graph saves nothing for the backward pass and so can be
walked any number of times. Its one node sums the gradients of all uses and all layers before it projects them,
once a backward.

"Changed" is decided by values (`changes.py`), since version counters miss `parameter.data.copy_`, which hotswapping
and some optimizers use. Where that cannot be done each weight is computed when it is asked for: while torch.compile
traces, which finds repeated work itself, and for sharded or replaced parameters.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nolakit.tuner.changes import Changes, version_of

if TYPE_CHECKING:
    from nolakit.tuner.factor import LinearFactor


@dataclass
class Made:
    """What was made together: of these parameters, with these values, in this mode."""

    mode: tuple[bool, bool]
    parameters: list[nn.Parameter]
    versions: list[int]
    values: torch.Tensor  # shape: (factors, count)
    weights: list[torch.Tensor]
    current: bool = True  # the last comparison found no change


@dataclass(eq=False)
class Expansion:
    """Factors of one adapter that their method makes together (`Method.group`)."""

    changes: Changes
    factors: list[LinearFactor] = field(default_factory=list)
    made: Made | None = None

    def weight(self, factor: LinearFactor) -> torch.Tensor:
        """The factor's weight, in its coefficients' dtype; from what was made before where that still holds."""
        parameter = factor.coefficients
        if torch.compiler.is_compiling() or not _comparable(parameter):
            return factor.compute()
        self.changes.note_use(factor)
        mode = (torch.is_grad_enabled() and parameter.requires_grad, torch.is_inference_mode_enabled())
        if self.made is None or self.made.mode != mode or not self.changes.none_since(self.made, factor):
            parameters = [member.coefficients for member in self.factors]
            if not all(_comparable(other) and _alike(other, parameter) for other in parameters):
                return factor.compute()
            stacked = torch.stack(tuple(parameters))
            weights = factor.expanded(stacked, [member.shape for member in self.factors])
            versions = [version_of(other) for other in parameters]
            self.made = Made(mode, parameters, versions, stacked.detach(), weights)
        return self.made.weights[factor.position]

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles start with nothing made: tensors inside a graph are neither."""
        return {"changes": self.changes, "factors": self.factors, "made": None}


def share_expansions(factors: Iterable[LinearFactor]) -> None:
    """Give each group of one adapter's factors an expansion in common."""
    changes = Changes()
    groups: dict[Hashable, Expansion] = {}
    for factor in factors:
        group = factor.method.group(factor.shape)
        if group not in groups:
            groups[group] = Expansion(changes)
            changes.expansions.append(groups[group])
        expansion = groups[group]
        factor.expansion, factor.position = expansion, len(expansion.factors)
        expansion.factors.append(factor)


def _comparable(parameter: nn.Parameter) -> bool:
    """Whether there are values to compare: not sharded, not replaced by a transform, not meta."""
    return type(parameter) is nn.Parameter and parameter.device.type != "meta"


def _alike(parameter: nn.Parameter, other: nn.Parameter) -> bool:
    return (parameter.dtype, parameter.device, parameter.requires_grad) == (
        other.dtype,
        other.device,
        other.requires_grad,
    )
