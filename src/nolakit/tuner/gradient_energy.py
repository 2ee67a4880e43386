"""How much each weight would gain from being trained: the energy of the loss's gradient, for `budget_weights`.

    energy(W) = 1 / batches sum_batches || dL/dW ||_F^2,   dL/dW = sum_tokens g x^T

with x what goes into a layer and g the gradient of what comes out: so the weight itself may be quantised or frozen, and
only one gradient is held at a time. Each use of a layer in a batch counts by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer, check_target_module_exists
from torch import nn
from torch.nn.grad import conv2d_weight

from nolakit.adapter.paths import canonical_path
from nolakit.errors import ConfigError, UnsupportedError
from nolakit.tuner.naming import base_model_prefix

Loss = Callable[[nn.Module, Any], torch.Tensor]


def gradient_energy(
    model: nn.Module, batches: Iterable[Any], target_modules: Any = "all-linear", *, loss: Loss | None = None
) -> dict[str, float]:
    """The mean energy of the loss's gradient in each targeted weight of a base model.

    Args:
        model: without an adapter. Its weights, gradients and mode stay as they are.
        batches: at least one; keyword arguments of the model, labels among them.
        target_modules: as a PEFT configuration has them. Layers that are measured and not adapted do no harm.
        loss: of the model and a batch, where it is not `model(**batch).loss`.

    Returns:
        Energies by canonical path, in its order: `NolaConfig(budget=..., budget_weights=...)`.

    Raises:
        ConfigError: no batch, or no layer that the loss depends on.
        UnsupportedError: a model that has an adapter.

    Cost: a forward and a backward pass a batch, and a product out * in * tokens a layer.
    """
    if any(isinstance(module, BaseTunerLayer) for module in model.modules()):
        raise UnsupportedError("found a model with an adapter; measure its base, before get_peft_model")
    prefix = base_model_prefix(model)
    layers = {canonical_path(key, prefix): layer for key, layer in _layers(model, target_modules)}
    energies = dict.fromkeys(sorted(layers), 0.0)
    probes: list[torch.Tensor] = []

    def watch(path: str, layer: nn.Module) -> Any:
        def forward_hook(
            _: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor
        ) -> torch.Tensor:
            probe = output.new_zeros((), requires_grad=True)  # so that there is a graph from here on
            probes.append(probe)
            watched, x = output + probe, inputs[0].detach()
            watched.register_hook(lambda g: energies.__setitem__(path, energies[path] + _energy(layer, x, g)))
            return watched

        return layer.register_forward_hook(forward_hook)

    training, number = model.training, 0
    handles = [watch(path, layer) for path, layer in layers.items()]
    try:
        model.eval()
        for batch in batches:
            probes.clear()
            with torch.enable_grad():
                value = loss(model, batch) if loss is not None else model(**batch).loss
                torch.autograd.grad(value, probes, allow_unused=True)
            number += 1
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    if not number or not any(energies.values()):
        raise ConfigError(
            f"found no gradient in {len(energies)} layers over {number} batches; expected batches with labels"
        )
    return {path: energy / number for path, energy in energies.items()}


def _layers(model: nn.Module, target_modules: Any) -> Iterator[tuple[str, nn.Module]]:
    """Linear layers of any kind, and convolutions where they are named."""
    chosen = None if target_modules == "all-linear" else LoraConfig(target_modules=target_modules)
    for key, module in model.named_modules():
        linear = isinstance(module, nn.Linear) or type(module).__name__.endswith(("Conv1D", "Linear"))
        if chosen is None:
            targeted = linear
        else:
            targeted = (linear or isinstance(module, nn.Conv2d)) and check_target_module_exists(chosen, key)
        if targeted:
            yield key, module


def _energy(layer: Any, x: torch.Tensor, g: torch.Tensor) -> float:
    """The squared norm of a layer's weight gradient, from its input and the gradient of its output."""
    x, g = x.float(), g.float()
    if isinstance(layer, nn.Conv2d):
        options: Any = layer.stride, layer.padding, layer.dilation, layer.groups
        gradient = conv2d_weight(x, layer.weight.shape, g, *options)
    else:
        gradient = g.reshape(-1, g.shape[-1]).T @ x.reshape(-1, x.shape[-1])
    return float(gradient.double().square().sum())
