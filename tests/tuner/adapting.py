"""Adapted small models, trained and compared: what the tests of the tuner share."""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftModel, get_peft_model

from nolakit import NolaConfig
from small_models import Case

TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}  # for sums that are taken in another order


def config_for(case: Case, **changes: Any) -> NolaConfig:
    """A small NOLA configuration on the case's targets."""
    options = {
        "r": 4,
        "num_basis": 24,
        "lora_alpha": 8,
        "target_modules": list(case.targets),
        "seed": 7,
        **case.options,
        **changes,
    }
    if "task_type" not in changes and case.task_type != "SEQ_CLS":  # whose head PEFT would train
        options["task_type"] = case.task_type
    return NolaConfig(**options)


def adapted(case: Case, *, adapter_name: str = "default", **changes: Any) -> PeftModel:
    """The case's model under an adapter that changes it: its coefficients are random, but always the same."""
    model = get_peft_model(case.make(), config_for(case, **changes), adapter_name=adapter_name)
    randomize(model, adapter_name)
    return model.eval()


def randomize(model: torch.nn.Module, adapter_name: str = "default", seed: int = 3) -> None:
    """Draw an adapter's coefficients, the same for one seed, large enough to move every output."""
    generator = torch.Generator().manual_seed(seed)
    for values in coefficients(model, adapter_name).values():
        values.copy_(torch.randn(values.shape, generator=generator) / 2)


def coefficients(model: torch.nn.Module, adapter_name: str = "default") -> dict[str, torch.Tensor]:
    """An adapter's coefficients by parameter name, detached, not copied."""
    mark = f".{adapter_name}.coefficients"
    return {name: value.detach() for name, value in model.named_parameters() if name.endswith(mark)}


def logits(model: torch.nn.Module, batch: dict[str, torch.Tensor], **options: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(**batch, **options).logits


def train(
    model: torch.nn.Module, batch: dict[str, torch.Tensor], steps: int = 12, lr: float = 0.1
) -> list[float]:
    """Losses before each of `steps` steps of Adam on what requires a gradient."""
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    losses = []
    for _ in range(steps):
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Gradients of everything that is trained. Fails where one is missing."""
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            found[name] = parameter.grad.clone()
    return found


def assert_close(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, **TOLERANCE)


def assert_differ(first: torch.Tensor, second: torch.Tensor) -> None:
    """Far more apart than any rounding."""
    assert (first - second).abs().max() > 100 * TOLERANCE["atol"]
