"""Adapters that are all of a network: what they replace in the base, and what of it they store beside their numbers.

    W' = scaling * Delta    of each adapted layer, whose bias counts as zero too

The base gives the architecture alone, so any model of it, freshly made, is the same under such an adapter. Layers are
zeroed in place: disabling the adapter, or deleting it, leaves zeros.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from peft import PeftConfig
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from nolakit.errors import ConfigError, UnsupportedError
from nolakit.tuner.config import ComputedLoraConfig

Replaced = list[tuple[torch.Tensor, torch.Tensor]]  # parameters, and what was in them


def keep_normalisation(model: nn.Module, config: ComputedLoraConfig, others: Iterable[PeftConfig]) -> None:
    """Add the normalisation layers with running statistics to the configuration's `modules_to_save`.

    Raises:
        UnsupportedError: another adapter on the model needs the weights.
        ConfigError: PEFT, which compares the ends of names, would take another module for such a layer.
    """
    if not all(isinstance(one, ComputedLoraConfig) and one.method().replaces_weights for one in others):
        raise UnsupportedError(
            f"found an adapter on the model that {config.method_name!r} would take the base's weights from; give it a "
            "model of its own"
        )
    modules = dict(_plain_modules(model))
    found = [name for name, one in modules.items() if isinstance(one, _NormBase) and one.track_running_stats]
    for name in found:
        wrong = [key for key in modules if key.endswith(name) and key not in found]
        if wrong:
            raise ConfigError(
                f"found a module {wrong[0]!r} beside {name!r}, a normalisation layer that is stored with the adapter; "
                "PEFT tells modules to save by the ends of their names: rename one of the two"
            )
    config.modules_to_save = sorted({*(config.modules_to_save or ()), *found}) or None


def check_stored(model: nn.Module, config: ComputedLoraConfig, layers: Iterable[nn.Module]) -> None:
    """Raises ConfigError where the model has a parameter that is neither adapted, nor stored, nor the same in every
    fresh model."""
    known = {id(parameter) for layer in layers for parameter in layer.parameters()}
    stored = tuple(config.modules_to_save or ())
    for path, module in model.named_modules():
        if any(".".join(path.split(".")[: end + 1]).endswith(stored) for end in range(path.count(".") + 1)):
            continue
        for name, parameter in module.named_parameters(recurse=False):
            if name == "coefficients" or id(parameter) in known or (name == "bias" and config.bias == "all"):
                continue
            seen = parameter.numel() and parameter.device.type != "meta"
            if seen and bool((parameter != parameter.flatten()[0]).any()):
                raise ConfigError(
                    f"found a parameter {name!r} of {path!r} that would not be stored, so that the adapter would need "
                    "this very model; name the module in target_modules or in modules_to_save"
                )


def replace_by_zero(layers: Mapping[str, nn.Module]) -> Replaced:
    """Zero the weights and biases of layers in place.

    Returns:
        What `give_back` takes.

    Raises:
        UnsupportedError: a quantised layer.
    """
    for path, layer in layers.items():
        if not layer.weight.is_floating_point():  # pyright: ignore[reportCallIssue, reportArgumentType]
            raise UnsupportedError(
                f"found a quantised layer at {path!r}, whose weight is to be replaced; load the base unquantised"
            )
    replaced = []
    for layer in layers.values():
        for parameter in layer.parameters(recurse=False):
            replaced.append((parameter, parameter.detach().clone()))
            parameter.detach().zero_()
    return replaced


def give_back(replaced: Replaced) -> None:
    """Undo `replace_by_zero`."""
    for parameter, values in replaced:
        parameter.detach().copy_(values)


def _plain_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The model's modules under the names that they have without adapters."""
    wrappers = [
        name for name, module in model.named_modules() if isinstance(module, AuxiliaryTrainingWrapper)
    ]
    inside = tuple(name + "." for name in wrappers)
    for name, module in model.named_modules():
        if isinstance(module, AuxiliaryTrainingWrapper):
            yield name, module.original_module
        elif not name.startswith(inside or ("\0",)):
            yield name, module
