"""A weighted sum of a model's adapters as an adapter of their own method, where its update is linear.

    Delta(sum_i w_i c_i) = sum_i w_i Delta(c_i)

Each sum is taken in float64 and rounded once. In files: `nolakit.adapter.arithmetic`.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer

from nolakit.adapter.alike import SCALING, same_values
from nolakit.adapter.contents import PARTS
from nolakit.adapter.quantise import quantise
from nolakit.errors import ConfigError, UnsupportedError
from nolakit.methods.site import ROLES
from nolakit.tuner.config import ComputedLoraConfig
from nolakit.tuner.factor import LinearFactor


def adds_up(configs: Sequence[Any], layers: Iterable[LoraLayer], adapters: Sequence[str]) -> bool:
    """Whether adapters have a sum that their own method holds exactly: one linear method, one configuration and seed,
    one frozen part, and nothing that was trained whole.

    Args:
        configs: of the adapters.
        layers: those that the first adapter has.
    """
    first = configs[0]
    return all(_same(first, config) for config in configs) and all(
        _same_parts([getattr(layer, role)[name] for name in adapters]) for layer in layers for role in ROLES
    )


def sum_config(config: ComputedLoraConfig) -> ComputedLoraConfig:
    """The configuration of a sum: of full precision, since a sum of rounded numbers is not rounded."""
    made = copy.deepcopy(config)
    made.coefficient_bits, made.init_weights, made.fingerprint_recorded = None, True, False
    return made


def write_sum(
    layers: Iterable[LoraLayer], adapters: Sequence[str], weights: Sequence[float], adapter_name: str
) -> None:
    """Give the adapter `adapter_name` the weighted sum of the others' numbers, and their frozen part."""
    for factors in (getattr(layer, role) for layer in layers for role in ROLES):
        made, parts = factors[adapter_name], [factors[name] for name in adapters]
        if made.coefficients is not None:
            weighted = [_numbers(part) * weight for part, weight in zip(parts, weights, strict=True)]
            made.coefficients.data.copy_(torch.stack(weighted).sum(dim=0))
            made.coefficients.requires_grad_(False)  # as PEFT leaves a combination
        for name in PARTS:
            if getattr(made, name) is not None:
                getattr(made, name).copy_(getattr(parts[0], name))
        made.parts, made.awaited = parts[0].parts, parts[0].awaited


def plain_lora_config(config: ComputedLoraConfig, rank: int) -> LoraConfig:
    """The LoraConfig of the same scaling and targets, for expanded factors of a rank."""
    kept = {option.name: getattr(config, option.name) for option in fields(LoraConfig) if option.init}
    kept["r"] = rank
    kept.pop("peft_type", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said when the adapter was made
        return LoraConfig(**kept)


def check_combination(adapter: str, method: str, combination_type: str, svd_rank: int | None) -> None:
    """Refuse what PEFT would do with the factors of a dense method, which has none.

    Raises:
        UnsupportedError: a combination that is not taken from the updates themselves.
        ConfigError: no rank for one that is.
    """
    if not combination_type.endswith("svd"):
        raise UnsupportedError(
            f"found combination_type={combination_type!r} with the adapter {adapter!r} of {method!r}, whose update has "
            'full rank and no factors; take "svd" and an svd_rank, or "linear" over adapters of one linear method, '
            "configuration and seed"
        )
    if svd_rank is None:
        raise ConfigError(
            f"found svd_rank=None with the adapter {adapter!r} of {method!r}, whose update has full rank; name the "
            "rank of its best approximation"
        )


def _same(first: Any, other: Any) -> bool:
    """Whether two configurations are those of one linear method, on one set of modules."""
    if not isinstance(first, ComputedLoraConfig) or not isinstance(other, ComputedLoraConfig):
        return False
    return (
        first.method().degree == "linear"
        and not first.modules_to_save
        and all(
            getattr(first, name) == getattr(other, name)
            for name in (*SCALING, "peft_type", "module_shapes", "module_names", "modules_to_save")
        )
        and first.method() == other.method()
        and (first.base_fingerprint or {}).get("structure") == (other.base_fingerprint or {}).get("structure")
    )


def _same_parts(factors: Sequence[Any]) -> bool:
    if not all(isinstance(factor, LinearFactor) for factor in factors):
        return False
    parts = [factor.frozen_part() for factor in factors]
    return all(part is None if parts[0] is None else same_values(parts[0], part) for part in parts)


def _numbers(factor: LinearFactor) -> torch.Tensor:
    """The factor's numbers as its weight is made of them, float64."""
    factor.check_present()
    assert factor.coefficients is not None
    numbers = factor.coefficients.detach()
    if factor.bits is not None:
        numbers = quantise(numbers.float()[None], factor.bits).dequantised()[0]
    return numbers.double()
