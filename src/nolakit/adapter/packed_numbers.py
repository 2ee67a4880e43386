"""How a packed adapter's numbers lie in its one tensor of coefficients.

Module by module, lora_A's count and then lora_B's, as F32, F16 or I8; of 4 bits as U8, two's complement, the first of
two numbers in the low half, and a factor of an odd count filled up with a zero.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nolakit.errors import AdapterError
from nolakit.methods.base import ROLES, Role

DTYPES = {32: "F32", 16: "F16", 8: "I8", 4: "U8"}  # by bits
KINDS = {32: "<f4", 16: "<f2", 8: "i1", 4: "u1"}  # numpy's names for them
SMALLEST = {8: -128, 4: -8}  # in two's complement, and no number of a symmetric range

Numbers = Mapping[Role, np.ndarray]  # shape of each: (modules, count), float32, float16 or int8


def places(count: int, bits: int) -> int:
    """Elements of the tensor that a factor takes."""
    return -(-count // 2) if bits == 4 else count


def encode(numbers: Numbers, bits: int) -> np.ndarray:
    """The tensor. # shape: (modules * places of both factors,)"""
    parts = [_paired(numbers[role]) if bits == 4 else numbers[role] for role in ROLES]
    return np.ascontiguousarray(np.concatenate(parts, axis=1).reshape(-1)).astype(KINDS[bits], copy=False)


def decode(
    data: bytes | bytearray | memoryview, bits: int, counts: Mapping[Role, int], where: str
) -> Numbers:
    """The numbers of a tensor whose length fits.

    Raises:
        AdapterError: a number that is not finite, or outside of the symmetric range.
    """
    first, second = (places(counts[role], bits) for role in ROLES)
    rows = np.frombuffer(data, KINDS[bits]).reshape(-1, first + second)
    parts: Numbers = dict(zip(ROLES, (rows[:, :first], rows[:, first:]), strict=True))
    if bits == 4:
        _check_filling(parts, counts, where)
        parts = {role: _split(part)[:, : counts[role]] for role, part in parts.items()}
    for role, part in parts.items():
        if (bits > 8 and not np.isfinite(part).all()) or (bits <= 8 and (part == SMALLEST[bits]).any()):
            wrong = "not finite" if bits > 8 else f"{SMALLEST[bits]}, outside of the symmetric range"
            raise AdapterError(
                f"found a coefficient of {role} in {where} that is {wrong}; pack the adapter again"
            )
    return parts


def _paired(numbers: np.ndarray) -> np.ndarray:
    even = np.pad(numbers, ((0, 0), (0, numbers.shape[1] % 2))).astype(np.uint8)
    return (even[:, 0::2] & 15) | (even[:, 1::2] << 4)


def _split(pairs: np.ndarray) -> np.ndarray:
    halves = np.stack((pairs & 15, pairs >> 4), axis=-1).reshape(len(pairs), -1)
    return ((halves ^ 8).astype(np.int8)) - np.int8(8)


def _check_filling(parts: Numbers, counts: Mapping[Role, int], where: str) -> None:
    for role, part in parts.items():
        if counts[role] % 2 and (part[:, -1] >> 4).any():
            raise AdapterError(
                f"found a half byte behind {role} in {where} that is not zero; pack the adapter again"
            )
