"""Coefficients as small integers with a scale a row, and their exact sums.

    S_j = sum_i q_i (2 b_ij - 255),   a whole number, the same on every backend and device

Float32 holds every whole number up to 2^24. So q is split into digits small enough that no partial sum leaves that
range; each backend sums them with the very kernels of `combine`, exactly in whatever order; and the digits' sums are
put together in int32. Up to 4 bits and k = 9325, or 8 bits and k = 514, q is its own only digit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from nolakit.basis.backends import backend_for
from nolakit.basis.operations import check_address
from nolakit.errors import BasisError

EXACT = (1 << 24) - 1  # the largest whole number below which float32 has all
LARGEST_TERM = 257  # of a sum with q = 1 in any backend, on the way to it
MOST_INTEGERS = 65_280  # k, for the largest term to stay within EXACT


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


def combine_integers(values: torch.Tensor, *, seed: int, stream: int, size: int) -> torch.Tensor:
    """The sums S above: equal bits on every backend and device.

    Args:
        values: q, int8, at most 65,280 in a row. # shape: (batch, k)
        seed, stream, size: as in `combine`.

    Returns:
        int32. # shape: (batch, size)

    Raises:
        BasisError: a seed, stream, size or tensor outside what is said above.

    Cost: as `combine` with a row a digit; one digit for the k and bits above.
    """
    check_address(seed, stream, size)
    if values.dtype != torch.int8 or values.dim() != 2 or not 0 < values.shape[1] <= MOST_INTEGERS:
        raise BasisError(
            f"found integers of dtype {values.dtype} and shape {tuple(values.shape)}; expected int8 of two "
            f"dimensions, with 1 to {MOST_INTEGERS:,} in a row"
        )
    rest = values.to(torch.int32)
    base = EXACT // (LARGEST_TERM * values.shape[1]) + 1
    digits = []
    while not digits or rest.any():
        digits.append(rest.fmod(base))
        rest = (rest - digits[-1]) // base
    stacked = torch.cat(digits).float()
    sums = backend_for(stacked).integer_sums(stacked, seed, stream, size).to(torch.int32)
    total = torch.zeros_like(sums[: len(values)])
    for place, part in enumerate(sums.split(len(values))):
        total += part * base**place
    return total
