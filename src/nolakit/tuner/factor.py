"""Modules that stand where a LoRA layer holds lora_A and lora_B, with a computed `weight`.

    y = x weight^T,  weight = method.factor(coefficients)

They hold nothing but the coefficients: no basis, no copy of the weight. The weight is in the dtype of the
coefficients and on their device; it is summed in float32 at least.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import nn

from nolakit.adapter.quantise import fake_quantise
from nolakit.basis.streams import stream_number
from nolakit.errors import AdapterError
from nolakit.methods.base import FactorShape, Method
from nolakit.tuner.expansion import Expansion

torch.compiler.assume_constant_result(stream_number)  # SHA-256 is nothing that a compiler traces


class LinearFactor(nn.Module):
    """In place of the `nn.Linear` of a LoRA layer. # shape: (*batch, in) -> (*batch, out)"""

    bias = None  # PEFT reads it

    def __init__(self, method: Method, shape: FactorShape, like: torch.Tensor) -> None:
        """Coefficients at zero, with the device, dtype and requires_grad of `like`."""
        super().__init__()
        self.method = method
        self.shape = shape
        self.bits: int | None = None  # that the coefficients are rounded to
        self.awaited = False  # whether the coefficients are yet to come from a packed file
        self.out_features, self.in_features = shape.dims[0], prod(shape.dims[1:])
        zeros = torch.zeros(method.count(shape.role), device=like.device, dtype=like.dtype)
        self.coefficients = nn.Parameter(zeros, requires_grad=like.requires_grad)

        self.expansion: Expansion | None = None
        self.position = 0  # in the expansion

    @property
    def weight(self) -> torch.Tensor:
        """The factor, differentiable in the coefficients. # shape: shape.dims"""
        return self.compute() if self.expansion is None else self.expansion.weight(self)

    def compute(self) -> torch.Tensor:
        """The factor, made now and by itself. # shape: shape.dims"""
        return self.expanded(self.coefficients[None], [self.shape])[0]

    def expanded(self, coefficients: torch.Tensor, shapes: Sequence[FactorShape]) -> list[torch.Tensor]:
        """The weights of one group of factors of this adapter. # shape: (len(shapes), count)"""
        if self.awaited:
            raise AdapterError(
                f"found {self.shape.role} of {self.shape.path!r} without its coefficients: the adapter is packed, and "
                "whatever loaded it did not unpack it; use PeftModel.from_pretrained, nolakit.load or `nolakit unpack`"
            )
        rounded = coefficients if self.bits is None else fake_quantise(coefficients, self.bits)
        return [weight.to(coefficients.dtype) for weight in self.method.factors(rounded, shapes)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight)

    def randomize(self) -> None:
        """Draw the coefficients so that the factor's entries have about the spread of LoRA's own
        initialisation, 1 / sqrt(fan_in), from torch's global generator."""
        nn.init.normal_(self.coefficients, std=self.in_features**-0.5)

    def extra_repr(self) -> str:
        return f"{type(self.method).name}, {self.shape.role}{self.shape.dims}, path={self.shape.path!r}"


class ConvFactor(LinearFactor):
    """In place of the `nn.Conv2d` of a LoRA layer: the same weight, applied as that convolution was."""

    def __init__(
        self, method: Method, shape: FactorShape, like: nn.Conv2d, dilation: tuple[int, ...]
    ) -> None:
        super().__init__(method, shape, like.weight)
        self.stride, self.padding, self.dilation = like.stride, like.padding, dilation
        self.groups, self.kernel_size = like.groups, like.kernel_size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.weight, None, self.stride, self.padding, self.dilation, self.groups)


def factor_like(
    original: nn.Linear | nn.Conv2d, method: Method, shape: FactorShape, base: nn.Module
) -> LinearFactor:
    """The computed factor that takes the place of `original` beside the layer `base`."""
    if isinstance(original, nn.Conv2d):
        # PEFT forgets the base's dilation, which the merged weight has
        dilation = base.dilation if shape.role == "lora_A" and isinstance(base, nn.Conv2d) else (1, 1)
        return ConvFactor(method, shape, original, dilation)
    return LinearFactor(method, shape, original.weight)
