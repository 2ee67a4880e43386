"""Coefficients as small integers with a scale a row, and their exact sums.

S_j = sum_i q_i (2 b_ij - 255),   a whole number, the same on every backend and device
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Integers:
    """Coefficients scales[row] * values[row, i].

    values: int8, -127 to 127. # shape: (batch, k)
    scales: float32, finite and not negative. # shape: (batch,)
    """

    values: torch.Tensor
    scales: torch.Tensor

    def to(self, device: torch.device | str) -> Integers:
        """The same on another device."""
        return Integers(self.values.to(device), self.scales.to(device))

    def dequantised(self) -> torch.Tensor:
        """The products, each rounded to float32 once. # shape: (batch, k) float32"""
        return self.values.float() * self.scales[:, None]
