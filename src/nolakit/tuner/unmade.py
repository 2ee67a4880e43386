"""Weights that are not made until they are multiplied, for what PEFT reads of a LoRA layer's two weights.

PEFT's forward asks lora_A for its dtype, which a fused factor knows without being made. A dense update is lora_A beside
an identity as lora_B. PEFT's merge multiplies the two, or convolves where a kernel is larger than one pixel; that needs
the update, and no identity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class LazyWeight:
    """A tensor that `make` makes when anything but its dtype, which is that of `like`, and its device is asked for."""

    like: torch.Tensor
    make: Callable[[], torch.Tensor]

    @property
    def dtype(self) -> torch.dtype:
        return self.like.dtype

    @property
    def device(self) -> torch.device:
        return self.like.device

    def float(self) -> LazyWeight:
        return LazyWeight(self.like.float(), lambda: self.make().float())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.make(), name)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """A function of torch, of the tensor."""
        made = [one.make() if isinstance(one, cls) else one for one in args]
        return function(*made, **(kwargs or {}))


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

    def __matmul__(self, update: torch.Tensor | LazyWeight) -> torch.Tensor:
        return update.make() if isinstance(update, LazyWeight) else update

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """`F.conv2d(update, I)`."""
        if function is not torch.conv2d or kwargs or len(args) != 2 or isinstance(args[0], cls):
            return NotImplemented
        return args[0]
