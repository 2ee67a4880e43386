"""The numba backend: the two operations on the CPU, with no basis in memory.

The extra memory is one tile and one accumulator a thread, whatever num_basis is, and layers that share a basis
share the work of making it. Each output is summed by one thread in one fixed order: results depend neither on the
number of threads nor on the other rows.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from nolakit.basis.cpu_kernels import TILE, VECTORS, by_word, combine_tiles, project_groups
from nolakit.basis.streams import halves
from nolakit.basis.threads import threads


def combine(coefficients: torch.Tensor, seed: int, stream: int, size: int) -> torch.Tensor:
    """1 / sqrt(k) sum_i c_i B_i, with B_i = (2 signed_i + 1) / 256.
    # shape: (batch, k) float32 -> (batch, size) float32"""
    scale = 1 / (256 * math.sqrt(coefficients.shape[1]))
    offsets = (coefficients.sum(1, dtype=torch.float64) * scale).float()
    return _sums(coefficients * (2 * scale), offsets, seed, stream, size)


def integer_sums(digits: torch.Tensor, seed: int, stream: int, size: int) -> torch.Tensor:
    """sum_i q_i (2 signed_i + 1), exact where no partial sum leaves 2^24.
    # shape: (batch, k) float32 -> (batch, size) float32"""
    return _sums(2 * digits, digits.sum(1), seed, stream, size)


def _sums(doubled: torch.Tensor, offsets: torch.Tensor, seed: int, stream: int, size: int) -> torch.Tensor:
    batch, num_basis = doubled.shape
    padded = torch.nn.functional.pad(doubled, (0, -num_basis % VECTORS)).contiguous()
    out = torch.empty(batch, size)
    tiles = -(-size // TILE)
    arrays = (padded.numpy(), offsets.numpy(), out.numpy())
    threads.run(combine_tiles, tiles, tiles * TILE * num_basis, arrays, _constants(seed, stream))
    return out


def project(grad: torch.Tensor, num_basis: int, seed: int, stream: int) -> torch.Tensor:
    """1 / sqrt(k) <B_i, G>, with B_i = (2 signed_i + 1) / 256.
    # shape: (batch, size) float32 -> (batch, num_basis) float32"""
    batch, size = grad.shape
    tiles, groups = -(-size // TILE), -(-num_basis // VECTORS)
    tiled = np.empty((batch, tiles, TILE), np.float32)
    threads.run(by_word, batch, batch * size, (grad.numpy(), tiled), ())
    sums = grad.sum(1, dtype=torch.float64).numpy()
    out = torch.empty(batch, groups * VECTORS, dtype=torch.float64)
    arrays = (tiled, sums, out.numpy())
    threads.run(project_groups, groups, tiles * TILE * num_basis, arrays, _constants(seed, stream))
    return (out[:, :num_basis] * (1 / (256 * math.sqrt(num_basis)))).float()


def _constants(seed: int, stream: int) -> tuple[np.uint64, ...]:
    """As the kernels take them: stream_low, stream_high, key_low, key_high."""
    return tuple(np.uint64(half) for half in (*halves(stream), *halves(seed)))
