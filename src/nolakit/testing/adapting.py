"""A row's method on a tiny model: attached, moved, trained, looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import nn

from nolakit.testing.bases import BASES
from nolakit.testing.row import Row
from nolakit.tuner.calibration import calibrate
from nolakit.tuner.config import ComputedLoraConfig, config_class
from nolakit.tuner.registration import register_all

Tensors = dict[str, torch.Tensor]


def config_for(row: Row, base: str = "linear", **changes: Any) -> ComputedLoraConfig:
    """The row's configuration for one of `BASES`."""
    register_all()  # a method of another package may have come since PEFT was imported
    targets = list(BASES[base].targets or row.targets)
    options = {"target_modules": targets, **BASES[base].options, **row.options, **changes}
    return config_class(row.method)(**options)


def attach(
    row: Row, base: str = "linear", model: Any = None, batch: Tensors | None = None, **changes: Any
) -> Any:
    """A PeftModel of the base, or of a model made of it, with a fresh adapter, calibrated where its method needs it on
    the base's batch or another."""
    config = config_for(row, base, **changes)
    adapted: Any = get_peft_model(BASES[base].make() if model is None else model, config)
    calibrated(adapted, BASES[base].batch(dtype=_dtype(adapted)) if batch is None else batch)
    return adapted.eval()


def loaded(base: str, folder: str | Path, dtype: torch.dtype = torch.float32) -> Any:
    """A PeftModel of the base with a saved adapter, as PEFT loads it."""
    return PeftModel.from_pretrained(BASES[base].make(dtype), folder).eval()


def calibrated(model: nn.Module, batch: Tensors, adapter: str = "default") -> None:
    """Measure on a batch what an adapter's method asks for, if it does."""
    calibrate(model, [batch], adapter_name=adapter)


def moved(row: Row, base: str = "linear", *others: Any, **changes: Any) -> Any:
    """As `attach`, with numbers that are not those of the start, so that every output changes."""
    adapted = attach(row, base, *others, **changes)
    move(adapted)
    return adapted


def move(model: nn.Module, seed: int = 3, adapter: str = "default") -> None:
    """Add numbers to an adapter's own, the same for one seed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in coefficients(model, adapter).values():
            value.add_(0.3 * torch.randn(value.shape, generator=generator).to(value))


def coefficients(model: nn.Module, adapter: str = "default") -> dict[str, nn.Parameter]:
    """An adapter's trained numbers by parameter name."""
    mark = f".{adapter}.coefficients"
    return {name: value for name, value in model.named_parameters() if name.endswith(mark)}


def layers(model: nn.Module, adapter: str = "default") -> dict[str, Any]:
    """The adapted layers by path."""
    found = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    return {
        name.removeprefix("base_model.model."): one for name, one in found.items() if adapter in one.lora_A
    }


def updates(model: nn.Module, adapter: str = "default") -> Tensors:
    """The updates of the weights, scaled, of the weights' own shapes."""
    with torch.no_grad():
        return {name: layer.get_delta_weight(adapter) for name, layer in layers(model, adapter).items()}


def logits(model: nn.Module, batch: Tensors, **options: Any) -> torch.Tensor:
    """The output without a graph."""
    with torch.no_grad():
        return model(**batch, **options).logits


def gradients(model: nn.Module, batch: Tensors) -> Tensors:
    """The loss's gradients in what is trained, zero where there is none; the model has none before and after."""
    model(**batch).loss.backward()
    return taken_gradients(model)


def taken_gradients(model: nn.Module) -> Tensors:
    """The gradients that have been accumulated, which are cleared."""
    found = {
        name: torch.zeros_like(value) if value.grad is None else value.grad.clone()
        for name, value in model.named_parameters()
        if value.requires_grad
    }
    model.zero_grad()
    return found


def train(model: nn.Module, batch: Tensors, steps: int = 8, learning_rate: float = 0.03) -> list[float]:
    """Losses before each step of Adam, and after the last."""
    trained = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=learning_rate)
    losses = []
    for _ in range(steps):
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        return [*losses, model(**batch).loss.item()]


def _dtype(model: nn.Module) -> torch.dtype:
    """Of a model's inputs."""
    return next(value.dtype for value in model.parameters() if value.is_floating_point())


def joined_updates(model: nn.Module, adapter: str = "default") -> torch.Tensor:
    """All updates in one vector."""
    return torch.cat([update.flatten() for _, update in sorted(updates(model, adapter).items())])
