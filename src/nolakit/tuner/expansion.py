"""Weights of factors that are made together, and only when their coefficients have changed.

A step of training asks for a weight many times: for each micro-batch, and again where a checkpointed layer runs
its forward anew. All of them get the same tensor, whose graph saves nothing for the backward pass (`replayed.py`) and
so can be walked any number of times. Its one node sums the gradients of all uses and all layers before it takes them
back to the coefficients, once a backward.

"Changed" is decided by values (`changes.py`), since version counters miss `parameter.data.copy_`, which hotswapping
and some optimizers use. Where that cannot be done each weight is computed when it is asked for: while torch.compile
traces, which finds repeated work itself, and for sharded or replaced parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nolakit.adapter.quantise import fake_quantise
from nolakit.methods.base import Method
from nolakit.methods.site import Factor
from nolakit.tuner.changes import Changes, version_of
from nolakit.tuner.replayed import replayed

if TYPE_CHECKING:
    from nolakit.tuner.factor import LinearFactor


@dataclass
class Made:
    """What was made together: of these parameters, with these values, in this mode."""

    mode: tuple[Any, ...]
    parameters: list[nn.Parameter]
    versions: list[int]
    values: list[torch.Tensor]
    frozen: list[tuple[torch.Tensor, int] | None]  # of each factor
    weights: Sequence[torch.Tensor]  # of each factor
    places: dict[int, int]  # of the parameters, by identity
    current: bool = True  # the last comparison found no change


@dataclass(frozen=True)
class Recipe:
    """How weights are made of parameters; holds nothing that holds the weights."""

    method: Method
    shapes: list[Factor]
    places: list[int | None]  # of each factor's own parameter among those given
    owner: int | None  # the place of their owner's
    frozen: list[torch.Tensor | None]
    bits: int | None
    like: torch.Tensor

    def __call__(self, parameters: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        with exact(self.like.device):
            wide = _rounded(parameters, self.bits)
            none = wide[0][:0] if wide else self.like.new_empty(0, dtype=_wide(self.like.dtype))
            numbers = [none if place is None else wide[place] for place in self.places]
            tied = None if self.owner is None else wide[self.owner]
            frozen = [None if part is None else part.to(none) for part in self.frozen]
            made = self.method.factors(numbers, self.shapes, tied, frozen)
            return [weight.to(self.like.dtype) for weight in made]


@dataclass(eq=False)
class Expansion:
    """Factors of one adapter that their method makes together (`Method.group`).

    owner: the factor whose coefficients all of them are computed from too, if there is one.
    anchor: a factor with coefficients, whose dtype and device those without have.
    """

    changes: Changes
    anchor: LinearFactor
    owner: LinearFactor | None = None
    factors: list[LinearFactor] = field(default_factory=list)
    made: Made | None = None

    def like(self, factor: LinearFactor) -> torch.Tensor:
        """A tensor of the dtype and on the device that the factor's weight has."""
        return next(iter(self._needed(factor)), self.anchor.coefficients).detach()

    def weight(self, factor: LinearFactor) -> torch.Tensor:
        """The factor's weight, in its coefficients' dtype; from what was made before where that still holds."""
        needed = self._needed(factor)
        if torch.compiler.is_compiling() or not all(map(_comparable, needed)):
            return self.compute(factor)
        like = needed[0] if needed else self.anchor.coefficients
        self.changes.note_use(factor, like.device)
        trains = any(parameter.requires_grad for parameter in needed)
        mode = (
            torch.is_grad_enabled() and trains, torch.is_inference_mode_enabled(), like.dtype, like.device,
        )  # fmt: skip
        made = self.made
        if made is None or made.mode != mode or not self._holds(made, factor, needed):
            parameters = self._parameters(self.factors)
            if not all(_comparable(other) and _alike(other, parameters[0]) for other in parameters):
                return self.compute(factor)
            recipe = self._recipe(self.factors, parameters, like)
            weights = recipe(parameters) if recipe.method.replayable else replayed(recipe, parameters)
            versions = [version_of(parameter) for parameter in parameters]
            values = [parameter.detach().clone() for parameter in parameters]
            frozen = [_frozen(member) for member in self.factors]
            places = {id(parameter): place for place, parameter in enumerate(parameters)}
            made = self.made = Made(mode, parameters, versions, values, frozen, weights, places)
        return made.weights[factor.position]

    def compute(self, factor: LinearFactor) -> torch.Tensor:
        """The weight, made now and by itself."""
        parameters = self._parameters([factor])
        return self._recipe([factor], parameters, self.like(factor))(parameters)[0]

    def apply(self, factor: LinearFactor, x: torch.Tensor) -> torch.Tensor:
        """`x Delta^T` of a fused method, in the dtype of x, or of autocast. # shape: (*batch, in) -> (*batch, out)"""
        factor.check_present()
        device = x.device.type
        if x.dtype != torch.float64 and torch.is_autocast_enabled(device):
            x = x.to(torch.get_autocast_dtype(device))
        with exact(x.device):
            own, owner = factor.coefficients, self.owner
            numbers = x.new_empty(0) if own is None else _rounded([own], factor.bits)[0]
            tied = None if owner is None else _rounded([owner.coefficients], factor.bits)[0]
            return factor.method.apply(x, numbers, factor.shape, tied, factor.frozen_part())

    def _needed(self, factor: LinearFactor) -> list[nn.Parameter]:
        """What one factor is computed from."""
        if self.owner is not None:
            return self._parameters([factor])
        return [] if factor.coefficients is None else [factor.coefficients]

    def _parameters(self, factors: Iterable[LinearFactor]) -> list[nn.Parameter]:
        """What these factors are computed from, each once."""
        found = [factor.coefficients for factor in factors if factor.coefficients is not None]
        if self.owner is not None and not any(one is self.owner.coefficients for one in found):
            found.append(self.owner.coefficients)
        return found

    def _recipe(
        self, factors: list[LinearFactor], parameters: list[nn.Parameter], like: torch.Tensor
    ) -> Recipe:
        for factor in factors:
            factor.check_present()
        places = {id(parameter): place for place, parameter in enumerate(parameters)}
        return Recipe(
            method=factors[0].method,
            shapes=[factor.shape for factor in factors],
            places=[places.get(id(factor.coefficients)) for factor in factors],
            owner=None if self.owner is None else places[id(self.owner.coefficients)],
            frozen=[factor.frozen_part() for factor in factors],
            bits=factors[0].bits,
            like=like.detach()[:0],
        )

    def _holds(self, made: Made, factor: LinearFactor, needed: list[nn.Parameter]) -> bool:
        then, now = made.frozen[factor.position], _frozen(factor)
        if then is not now and (then is None or now is None or then[0] is not now[0] or then[1] != now[1]):
            return False
        return all(self.changes.none_since(made, parameter) for parameter in needed)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles start with nothing made: tensors inside a graph are neither."""
        return vars(self) | {"made": None}


def share_expansions(factors: Sequence[LinearFactor]) -> None:
    """Give each group of one adapter's bound factors an expansion in common."""
    changes = Changes()
    by_shape = {factor.shape: factor for factor in factors}
    trained = [factor for factor in factors if factor.coefficients is not None]
    groups: dict[Any, Expansion] = {}
    for factor in factors:
        group = factor.method.group(factor.shape)
        if group not in groups:
            owner = factor.method.owner(factor.shape)
            anchor = factor if factor.coefficients is not None else by_shape[factor.shape.partner]
            if anchor.coefficients is None:
                anchor = by_shape[owner] if owner is not None else trained[0]
            groups[group] = Expansion(changes, anchor, None if owner is None else by_shape[owner])
            changes.expansions.append(groups[group])
        expansion = groups[group]
        factor.expansion, factor.position = expansion, len(expansion.factors)
        expansion.factors.append(factor)


def exact(device: torch.device) -> AbstractContextManager[Any]:
    """Outside of autocast."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def _rounded(numbers: Sequence[torch.Tensor], bits: int | None) -> list[torch.Tensor]:
    """The numbers as a method takes them: in float32 at least, and of as few bits as training is for."""
    wide = [one.to(_wide(one.dtype)) for one in numbers]
    if bits is None:
        return wide
    if len({len(one) for one in wide}) == 1:
        return list(fake_quantise(torch.stack(wide), bits).unbind())
    return [fake_quantise(one[None], bits)[0] for one in wide]


def _wide(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype == torch.float64 else torch.float32


def _frozen(factor: LinearFactor) -> tuple[torch.Tensor, int] | None:
    part = factor.frozen_part()
    return None if part is None else (part, version_of(part))


def _comparable(parameter: nn.Parameter) -> bool:
    """Whether there are values to compare: not sharded, not replaced by a transform, not meta."""
    return type(parameter) is nn.Parameter and parameter.device.type != "meta"


def _alike(parameter: nn.Parameter, other: nn.Parameter) -> bool:
    return (parameter.dtype, parameter.device, parameter.requires_grad) == (
        other.dtype,
        other.device,
        other.requires_grad,
    )
