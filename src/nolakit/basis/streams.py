"""Stream numbers: which part of the generator's counter space a factor's basis lives in.

    stream = first 8 bytes, little-endian, of SHA-256(UTF-8(role))             shared by all modules
    stream = first 8 bytes, little-endian, of SHA-256(UTF-8(role + "/" + path))  one module's own

Python's `hash` differs between processes and traversal order differs between library versions;
SHA-256 of a name does neither. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib

from nolakit.errors import BasisError

UINT64 = 1 << 64
MAX_INDEX = 1 << 32  # basis indices and blocks are 32-bit counter words
BLOCK = 16  # entries that one generator call gives


def stream_number(role: str, path: str | None = None) -> int:
    """The 64-bit stream number of `role`, or of `role` in the module at `path`.

    Args:
        role: what the numbers are for: "lora_A", "lora_B", "lora_A0". Not empty, no "/".
        path: canonical module path (see `docs/format.md`, section 4), or None where all modules
            share one basis.

    Returns:
        An integer in [0, 2**64).

    Raises:
        BasisError: an empty role, or one with a "/" in it.
    """
    if not role or "/" in role:
        raise BasisError(f"found role {role!r}; expected a non-empty name without '/', such as 'lora_A'")
    name = role if path is None else f"{role}/{path}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def check_seed(seed: int) -> int:
    """`seed` itself, if it is an integer in [0, 2**64); raises `BasisError` otherwise."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < UINT64:
        raise BasisError(f"found seed {seed!r}; expected an integer from 0 to 2**64 - 1")
    return seed


def halves(number: int) -> tuple[int, int]:
    """Low and high 32 bits of a 64-bit number."""
    return number & 0xFFFFFFFF, number >> 32


def signed(number: int) -> int:
    """A 64-bit number in two's complement, as torch's operators and Triton's kernels take it."""
    return number - UINT64 if number >= UINT64 // 2 else number
