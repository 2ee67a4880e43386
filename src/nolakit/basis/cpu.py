"""The numba backend: the same two operations on the CPU, with no basis in memory.

A tile of LANES generator calls is made in registers and used at once for every row of the batch, so
the extra memory is one tile and one accumulator, whatever num_basis is. Each output is summed by one
thread in one fixed order: results do not depend on the number of threads.

Threads are Python's own over kernels that hold no GIL: numba's thread layers do not survive a fork, and
data loaders fork. This is the only file that imports numba.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import torch

from nolakit.basis.philox import KEY_INCREMENTS, MASK32, MULTIPLIERS, ROUNDS
from nolakit.basis.streams import BLOCK, halves

LANES = 64  # generator calls made at a time
TILE = LANES * BLOCK
MINIMUM_WORK = 1 << 17  # entries below which a second thread costs more than it gives

_MASK = np.uint64(MASK32)
_HALF = np.uint64(32)
_MULTIPLIER0, _MULTIPLIER1 = (np.uint64(value) for value in MULTIPLIERS)
_INCREMENT0, _INCREMENT1 = (np.uint64(value) for value in KEY_INCREMENTS)

# Multiply-adds may be fused; sums are never reordered.
_options = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract"}}


@numba.njit(inline="always")
def _make_tile(words, block, index, stream_low, stream_high, key_low, key_high):
    """Philox4x32-10 at (block + lane, index, stream) for every lane. # shape: words (4, LANES) uint32"""
    for lane in range(LANES):
        x0 = np.uint64(block + lane)
        x1 = np.uint64(index)
        x2 = stream_low
        x3 = stream_high
        k0 = key_low
        k1 = key_high
        for _ in range(ROUNDS):
            product0 = x0 * _MULTIPLIER0
            product1 = x2 * _MULTIPLIER1
            x0 = (product1 >> _HALF) ^ x1 ^ k0
            x1 = product1 & _MASK
            x2 = (product0 >> _HALF) ^ x3 ^ k1
            x3 = product0 & _MASK
            k0 = (k0 + _INCREMENT0) & _MASK
            k1 = (k1 + _INCREMENT1) & _MASK
        words[0, lane] = np.uint32(x0)
        words[1, lane] = np.uint32(x1)
        words[2, lane] = np.uint32(x2)
        words[3, lane] = np.uint32(x3)


@numba.njit(**_options)
def _combine_tiles(coefficients, out, first_tile, last_tile, stream_low, stream_high, key_low, key_high):
    """Fill `out` over a range of tiles. # shape: (batch, k) float32, out (batch, tiles * TILE) float32"""
    batch, num_basis = coefficients.shape
    words = np.empty((4, LANES), np.uint32)
    sums = np.empty((batch, BLOCK, LANES), np.float32)
    for tile in range(first_tile, last_tile):
        sums[:] = np.float32(0)
        for index in range(num_basis):
            _make_tile(words, tile * LANES, index, stream_low, stream_high, key_low, key_high)
            for row in range(batch):
                coefficient = coefficients[row, index]
                for byte in range(BLOCK):
                    shift = np.uint32(8 * (byte % 4))
                    for lane in range(LANES):
                        value = np.int32((words[byte // 4, lane] >> shift) & np.uint32(255))
                        sums[row, byte, lane] += coefficient * np.float32(2 * value - 255)
        for row in range(batch):
            for lane in range(LANES):
                for byte in range(BLOCK):
                    out[row, tile * TILE + lane * BLOCK + byte] = sums[row, byte, lane]


@numba.njit(**_options)
def _project_indices(grad, out, first_index, last_index, stream_low, stream_high, key_low, key_high):
    """Fill `out` over a range of basis indices.
    # shape: grad (batch, tiles, BLOCK, LANES) float32, out (batch, k) float32"""
    batch, tiles = grad.shape[:2]
    words = np.empty((4, LANES), np.uint32)
    sums = np.empty(LANES, np.float32)
    totals = np.empty(batch, np.float64)
    for index in range(first_index, last_index):
        totals[:] = 0.0
        for tile in range(tiles):
            _make_tile(words, tile * LANES, index, stream_low, stream_high, key_low, key_high)
            for row in range(batch):
                sums[:] = np.float32(0)
                for byte in range(BLOCK):
                    shift = np.uint32(8 * (byte % 4))
                    for lane in range(LANES):
                        value = np.int32((words[byte // 4, lane] >> shift) & np.uint32(255))
                        sums[lane] += grad[row, tile, byte, lane] * np.float32(2 * value - 255)
                total = 0.0
                for lane in range(LANES):
                    total += sums[lane]
                totals[row] += total
        for row in range(batch):
            out[row, index] = np.float32(totals[row])


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
        if parts == 1:
            kernel(*inputs, 0, length, *constants)
            return
        if self.pool is None:
            self.pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="nolakit-basis")
        jobs = [
            self.pool.submit(kernel, *inputs, edges[part], edges[part + 1], *constants)
            for part in range(1, parts)
        ]
        kernel(*inputs, edges[0], edges[1], *constants)
        for job in jobs:
            job.result()


_threads = _Threads()


def _constants(seed: int, stream: int) -> tuple[np.uint64, ...]:
    return tuple(np.uint64(half) for half in (*halves(stream), *halves(seed)))


def combine(coefficients: torch.Tensor, seed: int, stream: int, size: int) -> torch.Tensor:
    """1 / sqrt(k) sum_i c_i B_i. # shape: (batch, k) float32 -> (batch, size) float32"""
    batch, num_basis = coefficients.shape
    tiles = -(-size // TILE)
    out = torch.empty(batch, tiles * TILE)
    scaled = coefficients * (1 / (256 * math.sqrt(num_basis)))
    inputs = (scaled.contiguous().numpy(), out.numpy())
    _threads.run(_combine_tiles, tiles, tiles * TILE * num_basis, inputs, _constants(seed, stream))
    return out[:, :size].contiguous()


def project(grad: torch.Tensor, num_basis: int, seed: int, stream: int) -> torch.Tensor:
    """1 / sqrt(k) <B_i, G>. # shape: (batch, size) float32 -> (batch, num_basis) float32"""
    batch, size = grad.shape
    tiles = -(-size // TILE)
    padded = torch.nn.functional.pad(grad, (0, tiles * TILE - size))
    by_byte = padded.view(batch, tiles, LANES, BLOCK).transpose(2, 3).contiguous()
    out = torch.empty(batch, num_basis)
    inputs = (by_byte.numpy(), out.numpy())
    _threads.run(_project_indices, num_basis, tiles * TILE * num_basis, inputs, _constants(seed, stream))
    return out.mul_(1 / (256 * math.sqrt(num_basis)))
