"""The numba backend: the same two operations on the CPU, with no basis in memory.

A tile, LANES generator calls for each of VECTORS basis vectors, is made in the first-level cache and used at
once for every row of the batch, so the extra memory is one tile and one accumulator, whatever num_basis is, and
layers that share a basis share the work of making it. Each output is summed by one thread in one fixed order:
results do not depend on the number of threads.

Threads are Python's own over kernels that hold no GIL: numba's thread layers do not survive a fork, and data
loaders fork. This is the only file that imports numba.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numba
import numpy as np
import torch

from nolakit.basis.philox import KEY_INCREMENTS, MASK32, MULTIPLIERS, ROUNDS
from nolakit.basis.streams import BLOCK, halves

LANES = 64  # generator calls made at a time, one entry block each
TILE = LANES * BLOCK  # entries of a tile, in the order (word, lane, byte)
VECTORS = 4  # basis vectors whose tiles are in the cache together
MINIMUM_WORK = 1 << 18  # entries below which a second thread costs more than it gives

_MASK = np.uint64(MASK32)
_HALF = np.uint64(32)
_MULTIPLIER0, _MULTIPLIER1 = (np.uint64(value) for value in MULTIPLIERS)
_INCREMENT0, _INCREMENT1 = (np.uint64(value) for value in KEY_INCREMENTS)

# `contract` fuses multiply-adds, `reassoc` sums in vector lanes. Neither touches the integers.
_options = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract", "reassoc"}}


@numba.njit(inline="always")
def _make_words(words, block, index, stream_low, stream_high, key_low, key_high):
    """Philox4x32-10 at (block + lane, index, stream) for every lane. # shape: words (4, LANES) uint32

    Words live in 64-bit lanes; their upper halves are dropped where it matters, at each product and at the end.
    """
    for lane in range(LANES):
        x0 = np.uint64(block + lane)
        x1 = np.uint64(index)
        x2 = stream_low
        x3 = stream_high
        k0 = key_low
        k1 = key_high
        for _ in range(ROUNDS):
            product0 = (x0 & _MASK) * _MULTIPLIER0
            product1 = (x2 & _MASK) * _MULTIPLIER1
            x0 = (product1 >> _HALF) ^ x1 ^ k0
            x1 = product1
            x2 = (product0 >> _HALF) ^ x3 ^ k1
            x3 = product0
            k0 += _INCREMENT0
            k1 += _INCREMENT1
        words[0, lane] = np.uint32(x0)
        words[1, lane] = np.uint32(x1)
        words[2, lane] = np.uint32(x2)
        words[3, lane] = np.uint32(x3)


@numba.njit(inline="always")
def _numerator(byte):
    """2 b - 255 in float32, exact; integers of numba would be 64 bits wide here, and half as fast."""
    return np.float32(2) * np.float32(byte) - np.float32(255)


@numba.njit(**_options)
def _combine_tiles(coefficients, out, first_tile, last_tile, stream_low, stream_high, key_low, key_high):
    """Fill `out` over a range of tiles.
    # shape: coefficients (batch, k) with VECTORS dividing k, out (batch, tiles, TILE), both float32"""
    batch, num_basis = coefficients.shape
    words = np.empty((VECTORS, 4, LANES), np.uint32)
    generated = words.view(np.uint8).reshape(VECTORS, TILE)
    values = np.empty((VECTORS, TILE), np.float32)
    sums = np.empty((batch, TILE), np.float32)
    for tile in range(first_tile, last_tile):
        sums[:] = np.float32(0)
        for index in range(0, num_basis, VECTORS):
            for vector in range(VECTORS):
                _make_words(
                    words[vector], tile * LANES, index + vector, stream_low, stream_high, key_low, key_high
                )
                for entry in range(TILE):
                    values[vector, entry] = _numerator(generated[vector, entry])
            for row in range(batch):
                c0 = coefficients[row, index]
                c1 = coefficients[row, index + 1]
                c2 = coefficients[row, index + 2]
                c3 = coefficients[row, index + 3]
                for entry in range(TILE):
                    first = c0 * values[0, entry] + c1 * values[1, entry]
                    second = c2 * values[2, entry] + c3 * values[3, entry]
                    sums[row, entry] += first + second
        out[:, tile] = sums


@numba.njit(**_options)
def _project_groups(grad, out, first_group, last_group, stream_low, stream_high, key_low, key_high):
    """Fill `out` over a range of groups of VECTORS basis vectors.
    # shape: grad (batch, tiles, TILE) float32, out (batch, k) float32 with VECTORS dividing k"""
    batch, tiles = grad.shape[:2]
    words = np.empty((VECTORS, 4, LANES), np.uint32)
    generated = words.view(np.uint8).reshape(VECTORS, TILE)
    totals = np.empty((batch, VECTORS), np.float64)
    for group in range(first_group, last_group):
        totals[:] = 0.0
        for tile in range(tiles):
            for vector in range(VECTORS):
                index = group * VECTORS + vector
                _make_words(words[vector], tile * LANES, index, stream_low, stream_high, key_low, key_high)
            for row in range(batch):
                s0 = np.float32(0)
                s1 = np.float32(0)
                s2 = np.float32(0)
                s3 = np.float32(0)
                for entry in range(TILE):
                    g = grad[row, tile, entry]
                    s0 += g * _numerator(generated[0, entry])
                    s1 += g * _numerator(generated[1, entry])
                    s2 += g * _numerator(generated[2, entry])
                    s3 += g * _numerator(generated[3, entry])
                totals[row, 0] += s0
                totals[row, 1] += s1
                totals[row, 2] += s2
                totals[row, 3] += s3
        for row in range(batch):
            for vector in range(VECTORS):
                out[row, group * VECTORS + vector] = np.float32(totals[row, vector])


class _Threads:
    """A pool that is made on first use and made anew after a fork."""

    def __init__(self) -> None:
        self.pool: ThreadPoolExecutor | None = None
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        self.pool = None

    def run(self, kernel, length: int, work: int, inputs: tuple, constants: tuple) -> None:
        """Call `kernel` over [0, length) in as many parts as there are threads worth starting."""
        parts = max(1, min(torch.get_num_threads(), length, work // MINIMUM_WORK))
        edges = [length * part // parts for part in range(parts + 1)]
        jobs = [
            self._pool().submit(kernel, *inputs, start, stop, *constants)
            for start, stop in pairwise(edges[1:])
        ]
        kernel(*inputs, 0, edges[1], *constants)
        for job in jobs:
            job.result()

    def _pool(self) -> ThreadPoolExecutor:
        if self.pool is None:
            self.pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="nolakit-basis")
        return self.pool


_threads = _Threads()


def _constants(seed: int, stream: int) -> tuple[np.uint64, ...]:
    return tuple(np.uint64(half) for half in (*halves(stream), *halves(seed)))


def combine(coefficients: torch.Tensor, seed: int, stream: int, size: int) -> torch.Tensor:
    """1 / sqrt(k) sum_i c_i B_i. # shape: (batch, k) float32 -> (batch, size) float32"""
    batch, num_basis = coefficients.shape
    tiles = -(-size // TILE)
    scaled = coefficients * (1 / (256 * math.sqrt(num_basis)))
    padded = torch.nn.functional.pad(scaled, (0, -num_basis % VECTORS)).contiguous()
    out = torch.empty(batch, tiles, TILE)
    work = tiles * TILE * num_basis
    _threads.run(_combine_tiles, tiles, work, (padded.numpy(), out.numpy()), _constants(seed, stream))
    by_lane = out.view(batch, tiles, 4, LANES, 4).transpose(2, 3)
    return by_lane.reshape(batch, tiles * TILE)[:, :size].contiguous()


def project(grad: torch.Tensor, num_basis: int, seed: int, stream: int) -> torch.Tensor:
    """1 / sqrt(k) <B_i, G>. # shape: (batch, size) float32 -> (batch, num_basis) float32"""
    batch, size = grad.shape
    tiles = -(-size // TILE)
    padded = torch.nn.functional.pad(grad, (0, tiles * TILE - size))
    by_word = padded.view(batch, tiles, LANES, 4, 4).transpose(2, 3).reshape(batch, tiles, TILE)
    groups = -(-num_basis // VECTORS)
    out = torch.empty(batch, groups * VECTORS)
    work = tiles * TILE * num_basis
    _threads.run(_project_groups, groups, work, (by_word.numpy(), out.numpy()), _constants(seed, stream))
    return out[:, :num_basis] * (1 / (256 * math.sqrt(num_basis)))
