"""How a packed adapter's numbers lie in its one tensor of coefficients.

Module by module, lora_A's numbers and then lora_B's, as F32, F16 or I8; of 4 bits as U8, two's complement, the first of
two numbers in the low half, and a factor of an odd count filled up with a zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nolakit.errors import AdapterError
from nolakit.methods.site import ROLES, Role

DTYPES = {32: "F32", 16: "F16", 8: "I8", 4: "U8"}  # by bits
KINDS = {32: "<f4", 16: "<f2", 8: "i1", 4: "u1"}  # numpy's names for them
SMALLEST = {8: -128, 4: -8}  # in two's complement, and no number of a symmetric range

# of each role a row a module, (count,): float32, float16 or int8; one array (modules, count) where counts are equal
Numbers = Mapping[Role, Sequence[np.ndarray] | np.ndarray]
Counts = Mapping[Role, int]


def places(count: int, bits: int) -> int:
    """Elements of the tensor that a factor takes."""
    return -(-count // 2) if bits == 4 else count


def encode(numbers: Numbers, bits: int) -> np.ndarray:
    """The tensor. # shape: (places of all factors,)"""
    rows = [row for pair in zip(*(numbers[role] for role in ROLES), strict=True) for row in pair]
    parts = [_paired(row) for row in rows] if bits == 4 else rows
    return np.concatenate(parts).astype(KINDS[bits], copy=False)


def decode(data: bytes | bytearray | memoryview, bits: int, counts: Sequence[Counts], where: str) -> Numbers:
    """The numbers of a tensor.

    Args:
        counts: of each module's two factors.

    Raises:
        AdapterError: another length, a number that is not finite, or outside of the symmetric range.
    """
    flat = np.frombuffer(data, KINDS[bits])
    lengths = [places(each[role], bits) for each in counts for role in ROLES]
    if sum(lengths) != len(flat):
        raise AdapterError(
            f"found {len(flat)} coefficients in {where}; its modules have {sum(lengths)}: fetch or pack it again"
        )
    if all(each == counts[0] for each in counts):
        block = flat.reshape(len(counts), lengths[0] + lengths[1])
        parts = {"lora_A": block[:, : lengths[0]], "lora_B": block[:, lengths[0] :]}
        return {role: _checked(parts[role], counts[0][role], bits, f"{role} in {where}") for role in ROLES}
    rows = [part[None] for part in np.split(flat, np.cumsum(lengths)[:-1])]
    return {
        role: [
            _checked(row, each[role], bits, f"{role} in {where}")[0]
            for row, each in zip(rows[place::2], counts, strict=True)
        ]
        for place, role in enumerate(ROLES)
    }


def _checked(part: np.ndarray, count: int, bits: int, what: str) -> np.ndarray:
    """Rows of one count as numbers. # shape: (modules, places) -> (modules, count)"""
    if bits == 4:
        if count % 2 and (part[:, -1] >> 4).any():
            raise AdapterError(f"found a half byte behind {what} that is not zero; pack the adapter again")
        part = _split(part)[:, :count]
    if (bits > 8 and not np.isfinite(part).all()) or (bits <= 8 and (part == SMALLEST[bits]).any()):
        wrong = "not finite" if bits > 8 else f"{SMALLEST[bits]}, outside of the symmetric range"
        raise AdapterError(f"found a coefficient of {what} that is {wrong}; pack the adapter again")
    return part


def _paired(numbers: np.ndarray) -> np.ndarray:
    even = np.pad(numbers, (0, len(numbers) % 2)).astype(np.uint8)
    return (even[0::2] & 15) | (even[1::2] << 4)


def _split(pairs: np.ndarray) -> np.ndarray:
    halves = np.stack((pairs & 15, pairs >> 4), axis=-1).reshape(len(pairs), -1)
    return ((halves ^ 8).astype(np.int8)) - np.int8(8)
