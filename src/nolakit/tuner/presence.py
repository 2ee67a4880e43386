"""Whether an adapter has all that is not computed: after it is loaded, and before it is saved."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from nolakit.adapter.contents import PARTS
from nolakit.adapter.paths import FILE_PREFIX
from nolakit.errors import AdapterError
from nolakit.tuner.config import ComputedLoraConfig
from nolakit.tuner.layers import computed_layers


def check_arrived(model: nn.Module, adapter_name: str, state: Mapping[str, torch.Tensor]) -> None:
    """The tensors of a file, under the names of this model, are all that the adapter has waited for.

    Raises:
        AdapterError: a file without the frozen parts that its method stores.
    """
    for name, _, factors in computed_layers(model, adapter_name):
        for role, factor in factors.items():
            for part in PARTS:
                key = f"{FILE_PREFIX}{name}.{role}.{part}"
                if getattr(factor, part) is not None and key not in state:
                    raise AdapterError(
                        f"found no {key!r} in the adapter's file; expected it, as {factor.method.name!r} stores what "
                        "it measured, or took from the base. Fetch or save the adapter again"
                    )
            factor.awaited = None


def prepare_to_save(model: nn.Module, adapter_name: str, config: ComputedLoraConfig) -> None:
    """Note the check numbers of frozen parts that depend on measurements, which loading may have changed.

    Raises:
        AdapterError: an adapter that is yet to be calibrated, or is still packed.
    """
    numbers = {}
    for _, _, factors in computed_layers(model, adapter_name):
        for factor in factors.values():
            if factor.expansion.like(factor).device.type == "meta":
                continue  # a model that is only looked at
            factor.check_present()
            if factor.parts is not None and factor.method.calibration is not None:
                numbers[factor.shape.path] = factor.parts
    if numbers:
        config.frozen_check = [parts.number for _, parts in sorted(numbers.items())]
