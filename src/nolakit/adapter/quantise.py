"""Coefficients as small integers and one scale a factor.

    c_i ~ s q_i,   q_i = round(c_i / s) in [-m, m],   m = 127 for 8 bits, 7 for 4, 3 for 3, 1 for 2

Symmetric, so that zero stays zero. s = max|c| / m for 8 bits. Below, where the few steps are spent better on the many
small coefficients than on the largest, s is the best of SHARES of that by squared error: of 512 normal numbers the
relative error falls from 0.136 to 0.113 with 4 bits, 0.318 to 0.216 with 3, 0.846 to 0.440 with 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from nolakit.basis.integers import Integers
from nolakit.errors import AdapterError

LARGEST = {8: 127, 4: 7, 3: 3, 2: 1}  # bits -> m
SHARES = tuple(share / 16 for share in range(16, 2, -1))  # of max|c| / m, the first of equals wins


def trained_bits(config: Mapping[str, Any]) -> int | None:
    """The bits that training rounded the coefficients to. Raises AdapterError where there are none such."""
    bits = config.get("coefficient_bits")
    if bits is not None and (type(bits) is not int or bits not in LARGEST):
        raise AdapterError(
            f"found coefficient_bits {bits!r}; expected {', '.join(map(str, LARGEST))}, or null"
        )
    return bits


def quantise(coefficients: torch.Tensor, bits: int) -> Integers:
    """Each row in integers. The same in training, where `fake_quantise` is its value, and in packing.

    Args:
        coefficients: finite. # shape: (batch, k) float32
        bits: 8, 4, 3 or 2.
    """
    largest = LARGEST[bits]
    widest = coefficients.abs().amax(dim=1) / largest
    best, scales = torch.full_like(widest, torch.inf, dtype=torch.float64), widest
    for share in SHARES if bits < 8 else (1.0,):
        tried = widest * share
        rounded = Integers(_rounded(coefficients, tried, largest), tried).dequantised()
        squares = (rounded - coefficients).double().square().sum(dim=1)
        better = squares < best
        best, scales = torch.where(better, squares, best), torch.where(better, tried, scales)
    return Integers(_rounded(coefficients, scales, largest), scales)


def fake_quantise(coefficients: torch.Tensor, bits: int) -> torch.Tensor:
    """What the coefficients will be once packed; its gradient is the coefficients' own (straight-through).

    Source: Bengio, Leonard, Courville, arXiv 1308.3432. # shape: (batch, k) -> (batch, k)
    """
    with torch.no_grad():
        rounded = quantise(coefficients.float(), bits).dequantised().to(coefficients.dtype)
    return rounded + (coefficients - coefficients.detach())  # the second term is zero, and has the gradient


def _rounded(coefficients: torch.Tensor, scales: torch.Tensor, largest: int) -> torch.Tensor:
    steps = torch.where(scales > 0, scales, torch.ones_like(scales))
    return (coefficients / steps[:, None]).round().clamp(-largest, largest).to(torch.int8)
