"""The normative backend: plain torch on any device. Slow, readable, and right by definition.

    entry(i, j) = (2 b(i, j) - 255) / 256,  b(i, j) = byte j mod 16 of Philox at (block j // 16, i, stream)
    combine(c)[j] = 1 / sqrt(k) sum_i c_i entry(i, j)
    project(g)[i] = 1 / sqrt(k) sum_j entry(i, j) g_j

Every other backend is checked against this one: bytes exactly, sums within a tolerance. The basis is
made a piece at a time, so that memory stays bounded. Cost: about 4 million entries a second and core.
"""

from __future__ import annotations

import math

import torch

from nolakit.basis.philox import philox4x32
from nolakit.basis.streams import BLOCK, halves

PIECE = 1 << 20  # entries held at a time


def entry_bytes(
    seed: int, stream: int, indices: torch.Tensor, start_block: int, stop_block: int
) -> torch.Tensor:
    """Generator bytes of the basis vectors `indices`, blocks `start_block` to `stop_block`.

    Args:
        indices: int64 tensor. # shape: (n,)

    Returns:
        uint8 tensor on the device of `indices`. # shape: (n, 16 (stop_block - start_block))
    """
    device = indices.device
    blocks = torch.arange(start_block, stop_block, device=device)
    stream_low, stream_high = halves(stream)
    words = philox4x32(
        (
            blocks[None, :],
            indices[:, None],
            torch.tensor(stream_low, device=device),
            torch.tensor(stream_high, device=device),
        ),
        halves(seed),
    )
    shifts = torch.arange(0, 32, 8, device=device)
    by_word = (torch.stack(words, dim=-1).unsqueeze(-1) >> shifts) & 0xFF  # shape: (n, blocks, 4, 4)
    return by_word.to(torch.uint8).flatten(1)


def entries(
    seed: int, stream: int, indices: torch.Tensor, start_block: int, stop_block: int, dtype: torch.dtype
) -> torch.Tensor:
    """Entry values (2 b - 255) / 256 of the same range, exact in every floating dtype torch has of 16
    bits and up. # shape: (n, 16 (stop_block - start_block))"""
    generated = entry_bytes(seed, stream, indices, start_block, stop_block)
    return (2 * generated.to(torch.int16) - 255).to(dtype) / 256


def combine(coefficients: torch.Tensor, seed: int, stream: int, size: int) -> torch.Tensor:
    """See the module's equation. # shape: (batch, k) -> (batch, size), in the dtype of the coefficients"""
    return _sums(coefficients, seed, stream, size) / math.sqrt(coefficients.shape[-1])


def integer_sums(digits: torch.Tensor, seed: int, stream: int, size: int) -> torch.Tensor:
    """sum_i q_i (2 b_i - 255), exact where no partial sum leaves the whole numbers that the dtype has.
    # shape: (batch, k) -> (batch, size), in the dtype of the digits"""
    return _sums(256 * digits, seed, stream, size)


def _sums(coefficients: torch.Tensor, seed: int, stream: int, size: int) -> torch.Tensor:
    """sum_i c_i entry(i, j). # shape: (batch, k) -> (batch, size)"""
    num_basis = coefficients.shape[-1]
    indices = torch.arange(num_basis, device=coefficients.device)
    blocks = -(-size // BLOCK)
    step = max(1, PIECE // (BLOCK * num_basis))
    pieces = [
        _row_sums(
            coefficients,
            entries(seed, stream, indices, first, min(first + step, blocks), coefficients.dtype).T,
        )
        for first in range(0, blocks, step)
    ]
    return torch.cat(pieces, dim=-1)[:, :size]


def project(grad: torch.Tensor, num_basis: int, seed: int, stream: int) -> torch.Tensor:
    """See the module's equation. # shape: (batch, size) -> (batch, num_basis), in the dtype of `grad`"""
    size = grad.shape[-1]
    indices = torch.arange(num_basis, device=grad.device)
    blocks = -(-size // BLOCK)
    step = max(1, PIECE // (BLOCK * num_basis))
    total = grad.new_zeros(grad.shape[0], num_basis)
    for first in range(0, blocks, step):
        last = min(first + step, blocks)
        piece = grad[:, BLOCK * first : BLOCK * last]
        values = entries(seed, stream, indices, first, last, grad.dtype)[:, : piece.shape[-1]]
        total += _row_sums(piece, values)
    return total / math.sqrt(num_basis)


def _row_sums(rows: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """rows @ values.T as products and sums: no autocast and no reduced-precision matrix unit touches it.
    # shape: (batch, n), (m, n) -> (batch, m)"""
    return torch.stack([(values * row).sum(-1) for row in rows])
