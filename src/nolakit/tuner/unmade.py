"""Weights that are not made until they are multiplied, for what PEFT reads of a LoRA layer's two weights.

A dense update is lora_A beside an identity as lora_B. PEFT's forward asks a weight for its dtype, and its merge
multiplies the two; neither needs the identity, and only the second needs the update. Of a convolution it is merged by
convolving lora_A with lora_B, or multiplying where the kernel is one pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class LazyUpdate:
    """An update that `make` makes, of the dtype and on the device of `like`."""

    like: torch.Tensor
    make: Callable[[], torch.Tensor]

    @property
    def dtype(self) -> torch.dtype:
        return self.like.dtype

    @property
    def device(self) -> torch.device:
        return self.like.device

    def float(self) -> LazyUpdate:
        return LazyUpdate(self.like.float(), lambda: self.make().float())


@dataclass(frozen=True)
class Identity:
    """`I @ update = update`, and a convolution of an update with I is that update."""

    like: torch.Tensor

    @property
    def dtype(self) -> torch.dtype:
        return self.like.dtype

    @property
    def device(self) -> torch.device:
        return self.like.device

    def float(self) -> Identity:
        return Identity(self.like.float())

    def squeeze(self, dim: int) -> Identity:
        return self

    def __matmul__(self, update: torch.Tensor | LazyUpdate) -> torch.Tensor:
        return update.make() if isinstance(update, LazyUpdate) else update

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """`F.conv2d(update, I)`."""
        if function is not torch.conv2d or kwargs or len(args) != 2 or isinstance(args[0], cls):
            return NotImplemented
        return args[0]
