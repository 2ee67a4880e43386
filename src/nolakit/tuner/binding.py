"""An adapter's factors take their method once all of its modules are known: numbers, start, frozen parts."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from nolakit.adapter import module_names
from nolakit.adapter.frozen import expected_numbers, parts_of
from nolakit.adapter.paths import unwrapped_path
from nolakit.methods.base import Method
from nolakit.methods.budget import stored_weights
from nolakit.methods.site import ROLES, Role
from nolakit.tuner.config import ComputedLoraConfig
from nolakit.tuner.expansion import share_expansions
from nolakit.tuner.factor import LinearFactor
from nolakit.tuner.frozen_parts import FrozenParts, weight_matrix

UNCALIBRATED = (
    "the method measures {what} on data before it trains; call nolakit.calibrate(model, batches), as `nolakit train` "
    "does"
)

STORED = (
    "its frozen parts are in the adapter's file, which was not loaded; use PeftModel.from_pretrained or "
    "nolakit.load"
)

MEASURED: dict[str, str] = {
    "activations": "the size of its inputs",
    "gradient": "the gradient of the base's weights",
}

Factors = Mapping[str, Mapping[Role, LinearFactor]]  # by canonical path


def bind(
    config: ComputedLoraConfig, factors: Factors, keys: Mapping[str, str], bases: Mapping[str, nn.Module]
) -> None:
    """Bind the factors of an adapter to its method, and write what of it the configuration stores.

    Args:
        keys: the paths in this model, by canonical path.
        bases: the base's own layers, by canonical path.

    Raises:
        UnsupportedError, ConfigError: a module that the method cannot adapt.
        BaseMismatchError: the base's weights give other frozen parts than those the adapter was trained on.
    """
    if isinstance(config.budget_weights, Mapping):
        config.budget_weights = stored_weights(config.budget_weights, sorted(factors))
    method = config.method().bind([roles["lora_A"].shape.site for roles in factors.values()])
    every = [roles[role] for roles in factors.values() for role in ROLES]
    for factor in every:
        factor.bind(method)
    share_expansions(every)
    complete = all(factor.coefficients is not None for factor in every)
    config.module_names = None if complete else module_names.compress(map(unwrapped_path, keys.values()))
    if method.calibration is not None:
        for factor in every:
            factor.awaited = factor.awaited or UNCALIBRATED.format(what=MEASURED[method.calibration])
    if method.needs_weights:
        _place_parts(config, method, factors, bases)
    elif method.from_weight and method.calibration is None:
        _fill_buffers(config, method, factors, bases)


def _place_parts(
    config: ComputedLoraConfig, method: Method, factors: Factors, bases: Mapping[str, nn.Module]
) -> None:
    """Frozen parts for each layer: computed now, so that another base is refused now, unless there are no values yet
    or they are yet to be measured."""
    expected = expected_numbers(config.frozen_check, sorted(factors))
    found: list[FrozenParts] = []
    for path, roles in sorted(factors.items()):
        parts = FrozenParts(
            method, roles["lora_A"].shape.site, bases[path], roles["lora_A"], expected.get(path)
        )
        for factor in roles.values():
            factor.parts = parts
        found.append(parts)
    if method.calibration is None and all(_has_values(parts.base) for parts in found):
        config.frozen_check = [parts.number for parts in found]


def _fill_buffers(
    config: ComputedLoraConfig, method: Method, factors: Factors, bases: Mapping[str, nn.Module]
) -> None:
    """Frozen parts that are stored: computed for a fresh adapter, else yet to come from its file."""
    for path, roles in factors.items():
        site, base = roles["lora_A"].shape.site, bases[path]
        fresh = config.fingerprint_recorded and _has_values(base)
        parts = parts_of(method, site, weight_matrix(base, site)) if fresh else {}
        for role, factor in roles.items():
            if role in parts and factor.frozen is not None:
                factor.frozen.copy_(parts[role])
            elif factor.frozen is not None:
                factor.awaited = factor.awaited or STORED


def _has_values(base: nn.Module) -> bool:
    return getattr(base, "weight", None) is not None and base.weight.device.type != "meta"
