"""Tiny base models, the same at every call and in every process, of what PEFT's LoRA layers adapt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

WIDTH, CLASSES = 16, 3
SPREAD = 0.85  # of one row of a weight to the next, so that singular values are far apart

Make = Callable[[int, int], nn.Module]  # inputs, outputs


class Output(NamedTuple):
    """What the models return, named as transformers names it."""

    loss: torch.Tensor | None
    logits: torch.Tensor


class Attention(nn.Module):
    """Two projections of unlike width, as with grouped queries."""

    def __init__(self, make: Make, width: int) -> None:
        super().__init__()
        self.q_proj, self.v_proj = make(width, width), make(width, width // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.q_proj(x).unflatten(-1, (2, -1)).sum(-2) + self.v_proj(x))


class Layer(nn.Module):
    """One layer, whose modules are called as Llama's are. # shape: (batch, width) -> (batch, width)"""

    def __init__(self, make: Make, width: int) -> None:
        super().__init__()
        self.self_attn = Attention(make, width)
        self.mlp = nn.ModuleDict({"down_proj": make(width // 2, width)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.mlp["down_proj"](self.self_attn(x))


class Decoder(nn.Module):
    """Two layers and a head that stays as it is. # shape: (batch, width) -> (batch, CLASSES)"""

    def __init__(self, make: Make = nn.Linear, width: int = WIDTH) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(make, width) for _ in range(2))
        self.head = nn.Linear(width, CLASSES)
        self.checkpointing = False

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> Output:
        for layer in self.layers:
            x = checkpoint(layer, x, use_reentrant=False) if self.checkpointing else layer(x)  # pyright: ignore[reportAssignmentType]
        return _output(self.head(x), labels)


class Convolutions(nn.Module):
    """A strided and padded convolution, and one whose kernel is not square. # shape: (batch, 4, 6, 6)"""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(8, 12, (2, 1))
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> Output:
        return _output(self.head(self.conv2(torch.tanh(self.conv1(x))).mean((2, 3))), labels)


def _output(logits: torch.Tensor, labels: torch.Tensor | None) -> Output:
    return Output(None if labels is None else F.cross_entropy(logits, labels), logits)


@dataclass(frozen=True)
class Base:
    """How to make a model, what goes into it, and what its adapters' configurations say besides.

    targets: modules to adapt, where a row does not say.
    """

    build: Callable[[], nn.Module]
    inputs: tuple[int, ...]
    targets: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def make(self, dtype: torch.dtype = torch.float32) -> Any:
        """The model in evaluation mode. No global generator is moved."""
        with torch.random.fork_rng(devices=()):
            model = self.build()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
                if parameter.dim() > 1:
                    scales = SPREAD ** torch.arange(len(parameter))
                    parameter.mul_(scales.view(-1, *[1] * (parameter.dim() - 1)))
        return model.to(dtype).eval()

    def batch(self, size: int = 6, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
        """Keyword arguments of the model, labels included."""
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(size, *self.inputs, generator=generator)
        return {"x": x.to(dtype), "labels": torch.arange(size) % CLASSES}


def _conv1d(inputs: int, outputs: int) -> nn.Module:
    from transformers.pytorch_utils import Conv1D  # GPT-2's, whose weight is (in, out); PEFT imports it too

    return Conv1D(outputs, inputs)


BASES = {
    "linear": Base(Decoder, (WIDTH,)),
    "conv1d": Base(lambda: Decoder(_conv1d), (WIDTH,), options={"fan_in_fan_out": True}),
    "conv2d": Base(Convolutions, (4, 6, 6), ("conv1", "conv2")),
}
WIDE = Base(lambda: Decoder(width=8 * WIDTH), (8 * WIDTH,))  # kernels for few bits take multiples of 64
