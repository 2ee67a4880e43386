"""Gradients are those of the function, by finite differences in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from nolakit.testing.adapting import coefficients, gradients, layers, moved
from nolakit.testing.bases import BASES
from nolakit.testing.comparing import assert_close
from nolakit.testing.row import Row


def gradients_of_updates(row: Row) -> None:
    """gradcheck of every update in the numbers, on Linear and Conv2d."""
    for base in row.bases:
        if base != "conv1d":
            model = moved(row, base, BASES[base].make(torch.float64)).double()
            _gradcheck(model, lambda: [layer.get_delta_weight("default") for layer in layers(model).values()])  # noqa: B023 - called at once


def gradients_of_outputs(row: Row) -> None:
    """gradcheck of the output in the numbers, and of the step that trains, whose weights are made together."""
    for base in row.bases:
        model, batch = (
            moved(row, base, BASES[base].make(torch.float64)).double(),
            BASES[base].batch(dtype=torch.float64),
        )
        _gradcheck(model, lambda: [model(**batch).logits])  # noqa: B023 - called at once
        names = list(coefficients(model))
        found = gradients(model, batch)
        alone = _Called(model, lambda: [model(**batch).loss])  # noqa: B023 - called at once
        values = [coefficients(model)[name].detach().clone().requires_grad_() for name in names]
        (loss,) = alone.at(names, values)
        expected = torch.autograd.grad(loss, values, allow_unused=True)
        for name, gradient in zip(names, expected, strict=True):
            other = torch.zeros_like(found[name]) if gradient is None else gradient
            assert_close(found[name], other, f"gradient of a step on {base}, {name}", tolerance=1e-9)


def every_number_counts(row: Row) -> None:
    """What is trained is coefficients alone, and each of them moves an update."""
    idle = 0
    for base in row.bases:
        model = moved(row, base)
        trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
        assert trained.keys() == coefficients(model).keys(), (
            f"found {sorted(trained)} trained; expected coefficients"
        )
        generator = torch.Generator().manual_seed(5)
        total = torch.zeros(())
        for layer in layers(model).values():
            update = layer.get_delta_weight("default")
            total = total + (update * torch.randn(update.shape, generator=generator)).sum()
        total.backward()
        for name, value in trained.items():
            found = value.numel() if value.grad is None else int((value.grad == 0).sum())
            assert row.idle_numbers or not found, (
                f"on {base}: found {found} of {value.numel()} numbers of {name} that move no update"
            )
            idle += found
    assert idle or not row.idle_numbers, (
        f"found no idle number; the row says that there are: {row.idle_numbers}"
    )


class _Called(nn.Module):
    """A function of a model, as a function of the model's numbers."""

    def __init__(self, model: nn.Module, function: Callable[[], Any]) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self) -> Any:
        return self.function()

    def at(self, names: list[str], values: list[torch.Tensor]) -> Any:
        """The function where the numbers of these names have these values."""
        given = {f"model.{name}": value for name, value in zip(names, values, strict=True)}
        return torch.func.functional_call(self, given, ())


def _gradcheck(model: nn.Module, function: Callable[[], Any]) -> None:
    names = list(coefficients(model))
    values = [value.detach().clone().requires_grad_() for value in coefficients(model).values()]
    called = _Called(model, function)
    try:
        torch.autograd.gradcheck(
            lambda *given: tuple(called.at(names, list(given))), values, fast_mode=True, atol=1e-7, rtol=1e-4
        )
    except RuntimeError as error:
        raise AssertionError(f"found a gradient that is not the function's: {error}") from error
