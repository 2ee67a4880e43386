"""Philox4x32-10, the counter-based generator behind every frozen random number.

    (y0, y1, y2, y3) = Philox4x32-10(counter=(x0, x1, x2, x3), key=(k0, k1))

Ten rounds of two 32 x 32 -> 64 bit products and four xors; the key grows by two constants between
rounds. The output depends on nothing but its six input words, so a number is found by its address
and not by the order in which numbers are drawn.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import torch

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_INCREMENTS = (0x9E3779B9, 0xBB67AE85)
MASK32 = 0xFFFFFFFF


def philox4x32(
    counter: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], key: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Philox4x32-10 on tensors of counters.

    Args:
        counter: four int64 tensors that broadcast together, each value in [0, 2**32).
        key: two integers in [0, 2**32).

    Returns:
        Four int64 tensors of the broadcast shape, each value in [0, 2**32).

    torch has no unsigned 64-bit product. A signed one wraps to the same 64 bits, and the masks below
    read both of its halves as unsigned.
    """
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        product0 = x0 * MULTIPLIERS[0]
        product1 = x2 * MULTIPLIERS[1]
        x0, x1, x2, x3 = (
            ((product1 >> 32) & MASK32) ^ x1 ^ k0,
            product1 & MASK32,
            ((product0 >> 32) & MASK32) ^ x3 ^ k1,
            product0 & MASK32,
        )
        k0 = (k0 + KEY_INCREMENTS[0]) & MASK32
        k1 = (k1 + KEY_INCREMENTS[1]) & MASK32
    return x0, x1, x2, x3
