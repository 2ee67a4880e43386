"""The specification's generator in plain Python integers: slow, and independent of the library's code."""

from __future__ import annotations


def philox4x32_10(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Four 32-bit words for four counter words and two key words."""
    x = list(counter)
    k = list(key)
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * x[0], 1 << 32)
        high1, low1 = divmod(0xCD9E8D57 * x[2], 1 << 32)
        x = [high1 ^ x[1] ^ k[0], low1, high0 ^ x[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B9) % (1 << 32), (k[1] + 0xBB67AE85) % (1 << 32)]
    return x[0], x[1], x[2], x[3]


def basis_bytes(seed: int, stream: int, index: int, start: int, length: int) -> bytes:
    """Bytes of entries start .. start + length - 1 of one basis vector."""
    blocks = range(start // 16, -(-(start + length) // 16))
    stream_words = (stream % (1 << 32), stream >> 32)
    key = (seed % (1 << 32), seed >> 32)
    generated = b"".join(
        b"".join(word.to_bytes(4, "little") for word in philox4x32_10((block, index, *stream_words), key))
        for block in blocks
    )
    offset = start % 16
    return generated[offset : offset + length]
