"""The numba kernels. All in one file, since numba's cache on disk sees only the changes of a kernel's own file.

A tile is LANES generator calls of one basis vector. Those of VECTORS vectors are made in the first-level cache
and used at once for every row.
"""

from __future__ import annotations

import numba
import numpy as np

from nolakit.basis.compiling import compiled
from nolakit.basis.philox import KEY_INCREMENTS, MASK32, MULTIPLIERS, ROUNDS
from nolakit.basis.streams import BLOCK

LANES = 64  # generator calls made at a time, one entry block each
TILE = LANES * BLOCK  # entries of a tile, in the order (word, lane, byte)
VECTORS = 4  # basis vectors whose tiles are in the cache together
ROWS = 4  # rows that a tile is added to at a time
_APART = 32  # floats between rows of sums, so that equal entries of two rows are not 4 KiB apart

_MASK = np.uint64(MASK32)
_HALF = np.uint64(32)
_MULTIPLIER0, _MULTIPLIER1 = (np.uint64(value) for value in MULTIPLIERS)
_INCREMENT0, _INCREMENT1 = (np.uint64(value) for value in KEY_INCREMENTS)
_TO_SIGNED = np.uint64(0x8080808080808080)


@numba.njit(inline="always")
def _make_words(words, block, index, stream_low, stream_high, key_low, key_high):
    """Philox4x32-10 at (block + lane, index, stream) for every lane. # shape: words (2, LANES) uint64

    Words live in 64-bit lanes, whose upper halves are dropped at each product. The last round leaves them in pairs,
    (y1, y0) and (y3, y2) from the low end, as the products have them. Each byte b becomes the signed b - 128, so that
    an entry is (2 signed + 1) / 256 and one conversion makes a float of it.
    """
    for lane in range(LANES):
        x0 = np.uint64(block + lane)
        x1 = np.uint64(index)
        x2 = stream_low
        x3 = stream_high
        k0 = key_low
        k1 = key_high
        for _ in range(ROUNDS - 1):
            product0 = (x0 & _MASK) * _MULTIPLIER0
            product1 = (x2 & _MASK) * _MULTIPLIER1
            x0 = (product1 >> _HALF) ^ x1 ^ k0
            x1 = product1
            x2 = (product0 >> _HALF) ^ x3 ^ k1
            x3 = product0
            k0 += _INCREMENT0
            k1 += _INCREMENT1
        product0 = (x0 & _MASK) * _MULTIPLIER0
        product1 = (x2 & _MASK) * _MULTIPLIER1
        words[0, lane] = product1 ^ ((x1 ^ k0) << _HALF) ^ _TO_SIGNED
        words[1, lane] = product0 ^ ((x3 ^ k1) << _HALF) ^ _TO_SIGNED


@numba.njit(inline="always")
def _place(entry):
    """Where a tile has the entry: see `_make_words`."""
    lane, word, byte = entry // BLOCK, entry % BLOCK // 4, entry % 4
    return (word // 2 * LANES + lane) * 8 + (4 - word % 2 * 4) + byte


@numba.njit(inline="always")
def _add_row(sums, coefficients, generated, row, index):
    """Add VECTORS scaled vectors of a tile to one row."""
    c0, c1, c2, c3 = coefficients[row, index : index + VECTORS]
    for entry in range(TILE):
        first = c0 * np.float32(generated[0, entry]) + c1 * np.float32(generated[1, entry])
        second = c2 * np.float32(generated[2, entry]) + c3 * np.float32(generated[3, entry])
        sums[row, entry] += first + second


@numba.njit(inline="always")
def _add_rows(sums, coefficients, generated, row, index):
    """The same for ROWS rows at once: an entry is converted once for all of them."""
    a0, a1, a2, a3 = coefficients[row, index : index + VECTORS]
    b0, b1, b2, b3 = coefficients[row + 1, index : index + VECTORS]
    c0, c1, c2, c3 = coefficients[row + 2, index : index + VECTORS]
    d0, d1, d2, d3 = coefficients[row + 3, index : index + VECTORS]
    for entry in range(TILE):
        v0 = np.float32(generated[0, entry])
        v1 = np.float32(generated[1, entry])
        v2 = np.float32(generated[2, entry])
        v3 = np.float32(generated[3, entry])
        sums[row, entry] += (a0 * v0 + a1 * v1) + (a2 * v2 + a3 * v3)
        sums[row + 1, entry] += (b0 * v0 + b1 * v1) + (b2 * v2 + b3 * v3)
        sums[row + 2, entry] += (c0 * v0 + c1 * v1) + (c2 * v2 + c3 * v3)
        sums[row + 3, entry] += (d0 * v0 + d1 * v1) + (d2 * v2 + d3 * v3)


@compiled(fastmath={"contract"})  # fused multiply-adds; the integers are not touched
def combine_tiles(
    coefficients, offsets, out, first_tile, last_tile, stream_low, stream_high, key_low, key_high
):
    """Fill `out` over a range of tiles with offset + sum_i c_i signed_i.
    # shape: coefficients (batch, k) with VECTORS dividing k, offsets (batch,), out (batch, size), all float32"""
    batch, num_basis = coefficients.shape
    together = batch - batch % ROWS
    words = np.empty((VECTORS, 2, LANES), np.uint64)
    generated = words.view(np.int8).reshape(VECTORS, TILE)
    sums = np.empty((batch, TILE + _APART), np.float32)
    for tile in range(first_tile, last_tile):
        for row in range(batch):
            sums[row] = offsets[row]
        for index in range(0, num_basis, VECTORS):
            for vector in range(VECTORS):
                _make_words(
                    words[vector], tile * LANES, index + vector, stream_low, stream_high, key_low, key_high
                )
            for row in range(0, together, ROWS):
                _add_rows(sums, coefficients, generated, row, index)
            for row in range(together, batch):
                _add_row(sums, coefficients, generated, row, index)
        entries = min(TILE, out.shape[1] - tile * TILE)
        for row in range(batch):
            for entry in range(entries):
                out[row, tile * TILE + entry] = sums[row, _place(entry)]


@compiled(fastmath={"contract", "reassoc"})  # sums in vector lanes
def project_groups(grad, sums, out, first_group, last_group, stream_low, stream_high, key_low, key_high):
    """Fill `out` over a range of groups of VECTORS basis vectors with sum + 2 <signed_i, grad>.
    # shape: grad (batch, tiles, TILE) float32, sums (batch,) and out (batch, k) float64 with VECTORS dividing k"""
    batch, tiles = grad.shape[:2]
    words = np.empty((VECTORS, 2, LANES), np.uint64)
    generated = words.view(np.int8).reshape(VECTORS, TILE)
    for group in range(first_group, last_group):
        index = group * VECTORS
        for row in range(batch):
            out[row, index : index + VECTORS] = sums[row]
        for tile in range(tiles):
            for vector in range(VECTORS):
                _make_words(
                    words[vector], tile * LANES, index + vector, stream_low, stream_high, key_low, key_high
                )
            for row in range(batch):
                s0 = np.float32(0)
                s1 = np.float32(0)
                s2 = np.float32(0)
                s3 = np.float32(0)
                for entry in range(TILE):
                    g = grad[row, tile, entry]
                    s0 += g * np.float32(generated[0, entry])
                    s1 += g * np.float32(generated[1, entry])
                    s2 += g * np.float32(generated[2, entry])
                    s3 += g * np.float32(generated[3, entry])
                out[row, index] += 2 * s0
                out[row, index + 1] += 2 * s1
                out[row, index + 2] += 2 * s2
                out[row, index + 3] += 2 * s3


@compiled()
def by_word(grad, out, first_row, last_row):
    """Rows in the order of tiles, padded with zeros. # shape: grad (batch, size), out (batch, tiles, TILE)"""
    size = grad.shape[1]
    for row in range(first_row, last_row):
        for tile in range(out.shape[1]):
            out[row, tile] = np.float32(0)
            for entry in range(min(TILE, size - tile * TILE)):
                out[row, tile, _place(entry)] = grad[row, tile * TILE + entry]
