"""Modules that stand where a LoRA layer holds lora_A and lora_B, with a computed `weight`.

    y = x weight^T,  weight = method.factors(numbers)

They hold the trained numbers, `coefficients`, and of methods that are computed from the base's weight a `frozen` part:
no basis, no copy of the weight. The weight is in the dtype of the coefficients and on their device; it is computed
in float32 at least.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nolakit.basis.streams import stream_number
from nolakit.errors import AdapterError
from nolakit.methods.base import Method
from nolakit.methods.site import Factor
from nolakit.tuner.expansion import Expansion
from nolakit.tuner.frozen_parts import FrozenParts
from nolakit.tuner.unmade import Identity, LazyWeight

torch.compiler.assume_constant_result(stream_number)  # SHA-256 is nothing that a compiler traces

PACKED = (
    "the adapter is packed, and whatever loaded it did not unpack it; use PeftModel.from_pretrained, nolakit.load or "
    "`nolakit unpack`"
)


class LinearFactor(nn.Module):
    """In place of the `nn.Linear` of a LoRA layer. # shape: (*batch, in) -> (*batch, out)"""

    bias = None  # PEFT reads it
    method: Method
    expansion: Expansion
    position = 0  # in the expansion

    def __init__(self, shape: Factor, like: torch.Tensor) -> None:
        """Without numbers until `bind`; they will have the device, dtype and requires_grad of `like`."""
        super().__init__()
        self.shape = shape
        self.bits: int | None = None  # that the coefficients are rounded to
        self.awaited: str | None = None  # why there are no coefficients yet
        self.like = torch.empty(0, dtype=like.dtype, device=like.device)
        self.trains = like.requires_grad
        self.register_parameter("coefficients", None)
        self.register_buffer("frozen", None)
        self.register_buffer("measured", None)
        self.parts: FrozenParts | None = None

    def bind(self, method: Method) -> None:
        """Take the method, which knows all modules now, and its numbers at step 0."""
        self.method = method
        count, device = method.count(self.shape), self.like.device
        if count:
            start = method.start(self.shape) if device.type != "meta" else None
            numbers = torch.zeros(count, device=device, dtype=self.like.dtype)
            if start is not None:
                numbers.copy_(start)
            self.coefficients = nn.Parameter(numbers, requires_grad=self.trains)
        dims = method.dims(self.shape)
        self.out_features, self.in_features = dims[0], prod(dims[1:])
        frozen = method.frozen_dims(self.shape) if method.stores_frozen else None
        if frozen is not None:
            self.frozen = torch.zeros(frozen, device=device)
        measured = method.measured_dims(self.shape.site) if self.shape.role == "lora_A" else None
        if measured is not None:
            self.measured = torch.zeros(measured, device=device)

    def frozen_part(self) -> torch.Tensor | None:
        """What the method computed from the base's weight, stored or not."""
        return self.frozen if self.parts is None else self.parts.part(self.shape.role)

    @property
    def weight(self) -> torch.Tensor:
        """The factor, differentiable in the coefficients. # shape: method.dims(shape)"""
        return self.expansion.weight(self)

    def check_present(self) -> None:
        """Raises AdapterError where the numbers, or what is measured on data, are yet to come."""
        if self.awaited:
            raise AdapterError(
                f"found {self.shape.role} of {self.shape.path!r} without its numbers: {self.awaited}"
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight)

    def randomize(self) -> None:
        """Move the coefficients at random, so that the factor's entries have about the spread of LoRA's own
        initialisation, 1 / sqrt(fan_in), from torch's global generator."""
        if self.coefficients is not None:
            with torch.no_grad():
                noise = torch.empty_like(self.coefficients).normal_(std=self.in_features**-0.5)
                self.coefficients.add_(noise)

    def extra_repr(self) -> str:
        return (
            f"{self.method.name}, {self.shape.role}{self.method.dims(self.shape)}, path={self.shape.path!r}"
        )


class FusedFactor(LinearFactor):
    """lora_A of a method that applies its update without making it."""

    @property
    def weight(self) -> Any:
        """The factor, made when it is read; a dense update is not kept. # shape: method.dims(shape)"""
        make = self.expansion.compute if self.method.dense else self.expansion.weight
        return LazyWeight(self.expansion.like(self), lambda: make(self))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.expansion.apply(self, x)


class PassedFactor(LinearFactor):
    """lora_B behind a lora_A that applies the whole update: what comes in goes out."""

    @property
    def weight(self) -> Any:
        """The factor; beside a dense update an identity."""
        return Identity(self.expansion.like(self)) if self.method.dense else self.expansion.weight(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class ConvFactor(LinearFactor):
    """In place of the `nn.Conv2d` of a LoRA layer: the same weight, applied as that convolution was."""

    def __init__(self, shape: Factor, like: nn.Conv2d, dilation: tuple[int, ...]) -> None:
        super().__init__(shape, like.weight)
        self.stride, self.padding, self.dilation = like.stride, like.padding, dilation
        self.groups, self.kernel_size = like.groups, like.kernel_size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.weight, None, self.stride, self.padding, self.dilation, self.groups)


def factor_like(
    original: nn.Linear | nn.Conv2d, method: Method, shape: Factor, base: nn.Module
) -> LinearFactor:
    """The computed factor that takes the place of `original` beside the layer `base`."""
    linear = not isinstance(original, nn.Conv2d)
    if shape.role == "lora_B" and (method.dense or (method.fused and linear)):
        return PassedFactor(shape, original.weight)
    if isinstance(original, nn.Conv2d):
        # PEFT forgets the base's dilation, which the merged weight has
        dilation = base.dilation if shape.role == "lora_A" and isinstance(base, nn.Conv2d) else (1, 1)
        return ConvFactor(shape, original, dilation)
    fused = method.fused and shape.role == "lora_A"
    return (FusedFactor if fused else LinearFactor)(shape, original.weight)
