"""What passes through a layer, measured from outside of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nolakit.methods.site import Site


class Watch(ABC):
    """Sums over what a layer is given, while it is watched."""

    def __init__(self, site: Site, layer: nn.Module) -> None:
        self.site, self.layer = site, layer
        self.sum: torch.Tensor | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Until the block ends."""
        handle = self.layer.register_forward_hook(lambda _, args, output: self.passed(args[0], output))
        try:
            yield
        finally:
            handle.remove()

    def add(self, value: torch.Tensor) -> None:
        self.sum = value if self.sum is None else self.sum.add_(value)

    @abstractmethod
    def passed(self, x: torch.Tensor, output: Any) -> Any:
        """A forward of the layer; what takes the place of its output, if it is not None."""

    @abstractmethod
    def measured(self) -> torch.Tensor | None:
        """What was measured, float32; None where nothing has passed."""


class Inputs(Watch):
    """Mean absolute inputs. # shape: (inputs,)

    Of a convolution the mean over positions of each channel stands for all entries of its kernel.
    """

    rows = 0

    def passed(self, x: torch.Tensor, output: Any) -> None:
        if isinstance(self.layer, nn.Conv2d):
            x = x.movedim(-3, -1)
        flat = x.detach().reshape(-1, x.shape[-1])
        self.add(flat.abs().sum(dim=0, dtype=torch.float64))
        self.rows += len(flat)

    def measured(self) -> torch.Tensor | None:
        if self.sum is None or not self.rows:
            return None
        return (self.sum / self.rows).float().repeat_interleave(self.site.inputs // len(self.sum))


class Gradient(Watch):
    """The gradient of the weight, summed. # shape: (outputs, inputs)"""

    def passed(self, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        return _Watched.apply(output, x.detach(), torch.zeros((), requires_grad=True), self)  # pyright: ignore[reportReturnType]

    def passed_back(self, x: torch.Tensor, grad: torch.Tensor) -> None:
        with torch.autocast(x.device.type, enabled=False):
            self.add(self._of_weight(x.float(), grad.float()))

    def _of_weight(self, x: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
        if not isinstance(self.layer, nn.Conv2d):
            return grad.reshape(-1, grad.shape[-1]).T @ x.reshape(-1, x.shape[-1])
        layer = self.layer
        with torch.enable_grad():
            weight = torch.zeros(layer.weight.shape, device=x.device, requires_grad=True)
            y = F.conv2d(x, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)
        return torch.autograd.grad(y, weight, grad)[0].flatten(1)

    def measured(self) -> torch.Tensor | None:
        return self.sum


class _Watched(torch.autograd.Function):
    """The identity of an output, whose backward sees the input beside its gradient. Saved, not held, so that an input
    that is changed in place behind the layer is an error and no wrong gradient; `anchor` requires a gradient where
    nothing before the layer does."""

    @staticmethod
    def forward(
        ctx: Any, output: torch.Tensor, x: torch.Tensor, anchor: torch.Tensor, watch: Gradient
    ) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.watch = watch
        return output.clone()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        (x,) = ctx.saved_tensors
        ctx.watch.passed_back(x, grads[0])
        return grads[0], None, None, None
