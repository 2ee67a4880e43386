"""Weights that are not made until they are multiplied, for what PEFT reads of a LoRA layer's two weights.

A dense update is lora_A beside an identity as lora_B. PEFT's forward asks a weight for its dtype, and its merge
multiplies the two; neither needs the identity, and only the second needs the update.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
    """`I @ update = update`."""

    like: torch.Tensor

    @property
    def dtype(self) -> torch.dtype:
        return self.like.dtype

    @property
    def device(self) -> torch.device:
        return self.like.device

    def float(self) -> Identity:
        return Identity(self.like.float())

    def __matmul__(self, update: torch.Tensor | LazyUpdate) -> torch.Tensor:
        return update.make() if isinstance(update, LazyUpdate) else update
