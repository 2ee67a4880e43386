"""How much each weight would gain from being trained: the energy of the loss's gradient, for `budget_weights`.

    energy(W) = 1 / batches sum_batches || dL/dW ||_F^2,   dL/dW = sum dL/dy^T x

seen from outside of the layers (`measuring.py`), so that the weight may be quantised or frozen, and only one gradient
is held at a time. Each use of a layer in a batch counts by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer, check_target_module_exists
from torch import nn

from nolakit.adapter.paths import canonical_path
from nolakit.errors import DataError, UnsupportedError
from nolakit.methods.site import Site
from nolakit.tuner.calibration import Loss, base_alone, called, loss_of, placed_on
from nolakit.tuner.measuring import Gradient
from nolakit.tuner.naming import base_model_prefix
from nolakit.tuner.quiet_random import quiet_random


class Energy(Gradient):
    """The squared norms of a weight's gradients, summed."""

    energy = 0.0

    def add(self, value: torch.Tensor) -> None:
        self.energy += float(value.double().square().sum())


def gradient_energy(
    model: nn.Module, batches: Iterable[Any], target_modules: Any = "all-linear", *, loss: Loss | None = None
) -> dict[str, float]:
    """The mean energy of the loss's gradient in each targeted weight of a base model.

    The model is measured in evaluation mode; its weights, gradients, modes and torch's generators stay as they were.

    Args:
        model: without an adapter.
        batches: what the model is called with, as `nolakit.calibrate` takes them; those of training have its noise.
        target_modules: as a PEFT configuration has them. Layers that are measured and not adapted do no harm.
        loss: of the model's output and the batch; None is the output's own `loss`.

    Returns:
        Energies by canonical path, in its order: `NolaConfig(budget=..., budget_weights=...)`.

    Raises:
        UnsupportedError: a model that has an adapter.
        DataError: no batches, a loss that is missing or not finite, or none of the layers has a gradient.

    Cost: a forward and a backward pass a batch, and a product out * in * tokens a layer.
    """
    if any(isinstance(module, BaseTunerLayer) for module in model.modules()):
        raise UnsupportedError("found a model with an adapter; measure its base, before get_peft_model")
    prefix, device = base_model_prefix(model), next(model.parameters()).device
    watches = {canonical_path(key, prefix): watch for key, watch in _watches(model, target_modules)}
    number = 0
    with ExitStack() as stack:
        stack.enter_context(base_alone(model))
        stack.enter_context(quiet_random())
        stack.enter_context(torch.enable_grad())
        for watch in watches.values():
            stack.enter_context(watch.watching())
        for number, batch in enumerate(batches, start=1):  # noqa: B007
            placed = placed_on(batch, device)
            loss_of(called(model, placed), placed, loss).backward()
    found = {path: watches[path].energy / max(1, number) for path in sorted(watches)}
    if not any(found.values()):
        raise DataError(
            f"found no gradient in {len(found)} layers over {number} batches; expected batches with labels"
        )
    return found


def _watches(model: nn.Module, target_modules: Any) -> Iterator[tuple[str, Energy]]:
    """Linear layers of any kind, and convolutions where they are named."""
    chosen = None if target_modules == "all-linear" else LoraConfig(target_modules=target_modules)
    for key, module in model.named_modules():
        linear = isinstance(module, nn.Linear) or type(module).__name__.endswith(("Conv1D", "Linear"))
        if chosen is None:
            targeted = linear
        else:
            targeted = (linear or isinstance(module, nn.Conv2d)) and check_target_module_exists(chosen, key)
        if targeted:
            yield key, Energy(Site(key, (), ()), module)
