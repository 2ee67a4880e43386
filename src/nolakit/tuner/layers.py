"""The LoRA layers of a model that hold computed factors of an adapter."""

from __future__ import annotations

from collections.abc import Iterator

from peft.tuners.lora import LoraLayer
from torch import nn

from nolakit.methods.site import ROLES, Role
from nolakit.tuner.factor import LinearFactor


def computed_layers(
    model: nn.Module, adapter_name: str
) -> Iterator[tuple[str, LoraLayer, dict[Role, LinearFactor]]]:
    """Path in the model, layer and its two factors, in the order of the model's modules."""
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer) and adapter_name in module.lora_A:
            factors: dict[Role, LinearFactor] = {role: getattr(module, role)[adapter_name] for role in ROLES}
            if all(isinstance(factor, LinearFactor) for factor in factors.values()):
                yield name, module, factors
