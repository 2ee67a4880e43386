"""What some methods measure on data before they train: mean absolute inputs, or the gradient of the base's weights.

    a_j = mean over tokens and positions of |x_j|          inputs of each adapted layer
    G   = sum over batches of dL/dW = sum dL/dy^T x        gradient of its weight, as a matrix (out, in)

Both are seen from outside of the layers, in forward and backward hooks, so that no weight of the base requires a
gradient and a quantised base serves as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from nolakit.adapter.frozen import parts_of
from nolakit.errors import ConfigError, DataError, UnsupportedError
from nolakit.methods.site import Role
from nolakit.tuner.factor import LinearFactor
from nolakit.tuner.frozen_parts import put_in_order, weight_matrix
from nolakit.tuner.layers import computed_layers
from nolakit.tuner.measuring import Gradient, Inputs
from nolakit.tuner.quiet_random import quiet_random

Loss = Callable[[Any, Any], torch.Tensor]


def calibrate(
    model: nn.Module, batches: Iterable[Any], *, adapter_name: str = "default", loss: Loss | None = None
) -> None:
    """Measure on data what an adapter's method needs before it trains: LoRA-SB, and NoRA with `activation_aware`. Does
    nothing for methods that need nothing.

    The base alone is measured, in evaluation mode; modes, gradients, generators and the other adapters are left as they
    were.

    Args:
        model: with the adapter, of `peft.get_peft_model`.
        batches: what the model is called with: a mapping of keyword arguments, a tuple, or one tensor. They are moved
            to the model's device. Padding is measured like everything else: batches of one row have none.
        loss: of the model's output and the batch; None is the output's own `loss`.

    Raises:
        ConfigError: no adapter of this package has that name.
        UnsupportedError: an adapter is merged into the base.
        DataError: no batches, a layer that none of them reaches, or a loss that is missing or not finite.

    Memory: for a gradient one float32 matrix for each adapted weight. Cost: a forward pass a batch, and for a gradient
    a backward pass; then the method's own, an SVD a module.
    """
    layers = list(computed_layers(model, adapter_name))
    if not layers:
        raise ConfigError(f"found no adapter {adapter_name!r} of nolakit's in the model; name another")
    method = layers[0][2]["lora_A"].method
    if method.calibration is None:
        return
    for name, layer, _ in layers:
        if layer.merged:
            raise UnsupportedError(f"found a merged adapter at {name!r}; call unmerge_adapter() first")
    gradient = method.calibration == "gradient"
    watches = [
        (Gradient if gradient else Inputs)(factors["lora_A"].shape.site, layer.get_base_layer())
        for _, layer, factors in layers
    ]
    for module in model.modules() if gradient else ():
        put_in_order(module)
    device = next(model.parameters()).device
    with ExitStack() as stack:
        stack.enter_context(base_alone(model))
        stack.enter_context(quiet_random())
        stack.enter_context(torch.set_grad_enabled(gradient))
        for watch in watches:
            stack.enter_context(watch.watching())
        done = 0
        for done, batch in enumerate(batches, start=1):  # noqa: B007
            placed = placed_on(batch, device)
            output = called(model, placed)
            if gradient:
                loss_of(output, placed, loss).backward()
    if not done:
        raise DataError("found no batches to calibrate on; expected at least one")
    for watch, (name, layer, factors) in zip(watches, layers, strict=True):
        measured = watch.measured()
        if measured is None:
            raise DataError(
                f"found no use of the layer {name!r} in {done} batches; give more data, or other target_modules"
            )
        if not measured.isfinite().all():
            raise DataError(
                f"found numbers at {name!r} that are not finite; give other data, or a wider dtype"
            )
        _place(factors, layer.get_base_layer(), measured)


def _place(factors: Mapping[Role, LinearFactor], base: nn.Module, measured: torch.Tensor) -> None:
    """Frozen parts and start of one module, from what was measured there."""
    first = factors["lora_A"]
    method, site = first.method, first.shape.site
    with torch.no_grad():
        if first.measured is not None and first.parts is not None:
            first.measured.copy_(measured)
            first.parts.expected = None  # of an earlier measurement
            first.parts.part("lora_A")
            parts = first.parts.made
        else:
            parts = parts_of(method, site, weight_matrix(base, site), measured)
            for role, part in parts.items():
                buffer = factors[role].frozen
                if buffer is not None:
                    buffer.copy_(part)
        for role, start in method.calibrated_start(site, measured, parts).items():
            numbers = factors[role].coefficients
            if numbers is not None:
                numbers.copy_(start)
    for factor in factors.values():
        factor.awaited = None


@contextmanager
def base_alone(model: nn.Module) -> Iterator[None]:
    """Adapters disabled and all modules in evaluation mode, until the block ends."""
    modes = [(module, module.training) for module in model.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    disabled = [layer.disable_adapters for layer in layers]
    model.eval()
    for layer in layers:
        layer.enable_adapters(False)
    try:
        for parameter, _ in wanted:
            parameter.requires_grad_(False)
        yield
    finally:
        for layer, was_disabled in zip(layers, disabled, strict=True):
            layer.enable_adapters(not was_disabled)
        for parameter, required in wanted:
            parameter.requires_grad_(required)
        for module, training in modes:
            module.training = training


def loss_of(output: Any, batch: Any, loss: Loss | None) -> torch.Tensor:
    """The loss of a model's output. Raises DataError where there is none, or it is not finite."""
    found = getattr(output, "loss", None) if loss is None else loss(output, batch)
    if found is None and isinstance(output, Mapping):
        found = output.get("loss")
    if not isinstance(found, torch.Tensor) or found.numel() != 1:
        raise DataError(
            f"found no loss in the model's output, a {type(output).__name__}; give batches with labels, or `loss`"
        )
    if not found.isfinite().all():
        raise DataError(
            f"found a loss of {found.item()} on the calibration data; give other data, or a wider dtype"
        )
    return found


def called(model: nn.Module, batch: Any) -> Any:
    """The model's output of a batch: a mapping of keyword arguments, a tuple, or one tensor."""
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(*batch) if isinstance(batch, tuple | list) else model(batch)


def placed_on(batch: Any, device: torch.device) -> Any:
    """A batch on a device."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {name: placed_on(value, device) for name, value in batch.items()}
    return (
        type(batch)(placed_on(value, device) for value in batch) if isinstance(batch, tuple | list) else batch
    )
