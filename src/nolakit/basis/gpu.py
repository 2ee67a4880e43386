"""The Triton backend: the same two operations on a GPU, with no basis in memory.

A tile of the basis is made in registers by `tl.philox` and used at once for a group of rows of the batch, so layers
that share a basis share the work of making it. Two ways to multiply:

- up to MULTIPLIED_ROWS rows: products and sums in float32, one entry block or one basis vector a lane;
- more rows, from compute capability 8.0: tensor cores. Entries are odd integers of 8 bits times a power of two, exact
  in bfloat16; the float32 factor is split into three bfloat16 parts that sum to it (8 + 8 + 8 bits of its 24). So
  three bfloat16 products are as accurate as a float32 one; tf32 would keep 11 bits, and three of its products cost
  twice as much. Tensor cores truncate their sums, so they add up one short piece, and the pieces are added outside.

Sums go in two stages, with no atomics: each program writes the partial sum over its range, torch adds the partial
sums. Ranges follow from the shape alone, and the configurations that autotuning chooses from differ in how outputs
are dealt to programs, not in the order in which one is summed, so runs repeat bit for bit.

With TRITON_INTERPRET=1 in the environment the kernels run on the CPU, slowly, on any tensor. This is the only file
that imports triton.
"""

# pyright: reportGeneralTypeIssues=false
# (triton declares `static_range` without an iterator)

from __future__ import annotations

import math
import os
from typing import Any

import torch
import triton
import triton.language as tl

from nolakit.basis.streams import BLOCK, signed
from nolakit.errors import BackendError

if tuple(int(part) for part in triton.__version__.split(".")[:2]) < (3, 3):
    raise BackendError(
        f"found triton {triton.__version__}; expected 3.3 or newer, which torch 2.7 brings; "
        "update torch, or set NOLAKIT_BACKEND=reference"
    )

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
MULTIPLIED_ROWS = 8  # rows of a batch up to which lanes multiply and sum; tensor cores take at least 16
LARGEST_GROUP = 64  # rows that one tile of the basis serves
PROGRAMS = 1024  # ranges are cut until there are this many programs, a few waves of a large GPU
SHORTEST_COMBINE, SHORTEST_PROJECT = 32, 16  # basis vectors, entry blocks in a range
LONGEST = 4096  # length of a range, for accuracy
MOST_RANGES = 1 << 15  # a grid's third axis has 65,535 places

UNIT = 1 << 15  # the kernels' entries are entry * UNIT, an integer below 2**15
_EXPONENT = tl.constexpr(0x4B000000)  # bits of 2**23, where the last bit of a float32 counts 1
_MIDDLE = tl.constexpr(2.0**23 + 127.5 * 256)
# The interpreter has no bfloat16 product: there the parts, rounded all the same, are multiplied in float32.
_OPERAND = tl.constexpr(tl.float32 if INTERPRETED else tl.bfloat16)
_NOT_CONSTANT = ["seed", "stream"]  # or every module's stream would compile a kernel of its own


def _configurations(interpreted_tile: int, *compiled: tuple[int, int]) -> list[triton.Config]:
    """What autotuning chooses from: (tile, warps)."""
    rows = [(interpreted_tile, 4)] if INTERPRETED else compiled
    return [triton.Config({"TILE": tile}, num_warps=warps) for tile, warps in rows]


_COMBINE_LANES = _configurations(1024, (64, 2), (128, 4), (256, 8))  # entry blocks
_PROJECT_LANES = _configurations(512, (64, 2), (128, 4), (256, 4))  # basis vectors
_COMBINE_TILES = _configurations(128, (8, 4), (16, 8))  # entry blocks
_PROJECT_TILES = _configurations(64, (64, 4), (128, 4), (128, 8))  # basis vectors


@triton.jit
def _words(seed, stream, block, index):
    """The generator's four words at (block, index), which broadcast together."""
    number = stream.to(tl.uint64)
    low, high = number.to(tl.uint32), (number >> 32).to(tl.uint32)
    return tl.philox(seed, tl.cast(block, tl.uint32), tl.cast(index, tl.uint32), low, high)


@triton.jit
def _scaled_entries(word, byte):
    """entry * UNIT = 256 b - 32640 for a byte of each word, float32, exact.

    The byte becomes bits 8 to 15 of 2**23's float32, which adds 256 b to it: no conversion instruction.
    """
    bits = (((word >> (8 * byte)) & 0xFF) << 8) | _EXPONENT
    return bits.to(tl.float32, bitcast=True) - _MIDDLE


@triton.jit
def _tile(seed, stream, block, index):
    """A tile of the basis. # shape: (1, b) and (i, 1) -> (i, 16 b), _OPERAND"""
    y0, y1, y2, y3 = _words(seed, stream, block, index)
    words = tl.join(tl.join(y0, y2), tl.join(y1, y3))  # shape: (i, b, 2, 2), word 2 m + n at [..., m, n]
    entries = _scaled_entries(words[:, :, :, :, None], tl.arange(0, 4)[None, None, None, None, :])
    return tl.reshape(entries, [index.shape[0], block.shape[1] * 16]).to(_OPERAND)


@triton.jit
def _products(tile, factor):
    """tile @ factor with `factor` in three bfloat16 parts, the smallest first. # shape: (m, n), (n, r) -> (m, r)"""
    high = factor.to(tl.bfloat16).to(tl.float32)
    middle = (factor - high).to(tl.bfloat16).to(tl.float32)
    low = factor - high - middle
    sums = tl.dot(tile, low.to(_OPERAND))
    sums = tl.dot(tile, middle.to(_OPERAND), sums)
    return tl.dot(tile, high.to(_OPERAND), sums)


@triton.autotune(_COMBINE_LANES, key=["span", "ROWS"])
@triton.jit(do_not_specialize=_NOT_CONSTANT)
def _combine_lanes(
    coefficients, out, seed, stream, rows, num_basis, size, span, ROWS: tl.constexpr, TILE: tl.constexpr
):
    """A lane sums the 16 entries of one block over a range of basis vectors, for ROWS rows.
    # shape: (rows, num_basis) -> (ranges, rows, size)"""
    block = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    first_row = tl.program_id(1).to(tl.int64) * ROWS
    first = tl.program_id(2).to(tl.int64) * span
    sums = (tl.zeros([TILE], tl.float32),) * (16 * ROWS)
    for index in range(first, tl.minimum(first + span, num_basis)):
        words = _words(seed, stream, block, index)
        added = ()
        for row in tl.static_range(ROWS):
            coefficient = tl.load(coefficients + tl.minimum(first_row + row, rows - 1) * num_basis + index)
            for t in tl.static_range(16):
                entry = _scaled_entries(words[t // 4], t % 4)
                added = added + (sums[16 * row + t] + coefficient * entry,)  # noqa: RUF005
        sums = added
    for row in tl.static_range(ROWS):
        start = (tl.program_id(2).to(tl.int64) * rows + first_row + row) * size
        stop = tl.where(first_row + row < rows, size, 0)
        for t in tl.static_range(16):
            at = block * 16 + t
            tl.store(out + start + at, sums[16 * row + t], mask=at < stop)


@triton.autotune(_PROJECT_LANES, key=["span", "ROWS"])
@triton.jit(do_not_specialize=_NOT_CONSTANT)
def _project_lanes(
    grad, out, seed, stream, rows, num_basis, blocks, span, ROWS: tl.constexpr, TILE: tl.constexpr
):
    """A lane sums one basis vector's products over a range of blocks, for ROWS rows.
    # shape: (rows, 16 blocks) -> (ranges, rows, num_basis)"""
    index = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    first_row = tl.program_id(1).to(tl.int64) * ROWS
    first = tl.program_id(2).to(tl.int64) * span
    sums = (tl.zeros([TILE], tl.float32),) * ROWS
    for block in range(first, tl.minimum(first + span, blocks)):
        words = _words(seed, stream, block, index)
        added = ()
        for row in tl.static_range(ROWS):
            start = (tl.minimum(first_row + row, rows - 1) * blocks + block) * 16
            products = tl.zeros([TILE], tl.float32)
            for t in tl.static_range(16):
                products += tl.load(grad + start + t) * _scaled_entries(words[t // 4], t % 4)
            added = added + (sums[row] + products,)  # noqa: RUF005
        sums = added
    for row in tl.static_range(ROWS):
        start = (tl.program_id(2).to(tl.int64) * rows + first_row + row) * num_basis
        stop = tl.where(first_row + row < rows, num_basis, 0)
        tl.store(out + start + index, sums[row], mask=index < stop)


@triton.autotune(_COMBINE_TILES, key=["span", "ROWS"])
@triton.jit(do_not_specialize=_NOT_CONSTANT)
def _combine_tiles(
    coefficients, out, seed, stream, rows, num_basis, size, span, ROWS: tl.constexpr, TILE: tl.constexpr
):
    """Tensor cores, 32 basis vectors at a time. # shape: (rows, num_basis) -> (ranges, rows, size)"""
    block = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    row = tl.program_id(1).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    first = tl.program_id(2).to(tl.int64) * span
    last = tl.minimum(first + span, num_basis)
    sums = tl.zeros([16 * TILE, ROWS], tl.float32)
    for start in range(first, last, 32):
        index = start + tl.arange(0, 32)
        tile = _tile(seed, stream, block[None, :], index[:, None])
        factor = tl.load(
            coefficients + row[None, :] * num_basis + index[:, None],
            mask=(row[None, :] < rows) & (index[:, None] < last),
            other=0.0,
        )
        sums += _products(tl.trans(tile), factor)
    at = tl.program_id(0).to(tl.int64) * (16 * TILE) + tl.arange(0, 16 * TILE)
    start = (tl.program_id(2).to(tl.int64) * rows + row) * size
    inside = (at[:, None] < size) & (row[None, :] < rows)
    tl.store(out + start[None, :] + at[:, None], sums, mask=inside)


@triton.autotune(_PROJECT_TILES, key=["span", "ROWS"])
@triton.jit(do_not_specialize=_NOT_CONSTANT)
def _project_tiles(
    grad, out, seed, stream, rows, num_basis, blocks, span, ROWS: tl.constexpr, TILE: tl.constexpr
):
    """Tensor cores, four blocks at a time. # shape: (rows, 16 blocks) -> (ranges, rows, num_basis)"""
    index = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    row = tl.program_id(1).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    first = tl.program_id(2).to(tl.int64) * span
    last = tl.minimum(first + span, blocks)
    sums = tl.zeros([TILE, ROWS], tl.float32)
    for start in range(first, last, 4):
        tile = _tile(seed, stream, (start + tl.arange(0, 4))[None, :], index[:, None])
        at = start * 16 + tl.arange(0, 64)
        factor = tl.load(
            grad + row[None, :] * (blocks * 16) + at[:, None],
            mask=(row[None, :] < rows) & (at[:, None] < last * 16),
            other=0.0,
        )
        sums += _products(tile, factor)
    start = (tl.program_id(2).to(tl.int64) * rows + row) * num_basis
    inside = (index[:, None] < num_basis) & (row[None, :] < rows)
    tl.store(out + start[None, :] + index[:, None], sums, mask=inside)


def combine(coefficients: torch.Tensor, seed: int, stream: int, size: int) -> torch.Tensor:
    """1 / sqrt(k) sum_i c_i B_i. # shape: (batch, k) float32 -> (batch, size) float32"""
    return _sums(coefficients * (1 / (UNIT * math.sqrt(coefficients.shape[1]))), seed, stream, size)


def integer_sums(digits: torch.Tensor, seed: int, stream: int, size: int) -> torch.Tensor:
    """sum_i q_i (2 b_i - 255), exact where no partial sum leaves 2^24: digits are exact in bfloat16.
    # shape: (batch, k) float32 -> (batch, size) float32"""
    return _sums(digits * (256 / UNIT), seed, stream, size)


def _sums(scaled: torch.Tensor, seed: int, stream: int, size: int) -> torch.Tensor:
    batch, num_basis = scaled.shape
    blocks = triton.cdiv(size, BLOCK)
    rows = _group(scaled)
    kernel, tile = (_combine_lanes, 128) if rows <= MULTIPLIED_ROWS else (_combine_tiles, 8)
    span = _span(num_basis, SHORTEST_COMBINE, triton.cdiv(blocks, tile) * triton.cdiv(batch, rows))
    partial = scaled.new_empty(triton.cdiv(num_basis, span), batch, size)
    return _sum(kernel, scaled, partial, (seed, stream), (num_basis, size, span), rows, blocks)


def project(grad: torch.Tensor, num_basis: int, seed: int, stream: int) -> torch.Tensor:
    """1 / sqrt(k) <B_i, G>. # shape: (batch, size) float32 -> (batch, num_basis) float32"""
    batch, size = grad.shape
    blocks = triton.cdiv(size, BLOCK)
    rows = _group(grad)
    kernel, tile = (_project_lanes, 128) if rows <= MULTIPLIED_ROWS else (_project_tiles, 64)
    span = _span(blocks, SHORTEST_PROJECT, triton.cdiv(num_basis, tile) * triton.cdiv(batch, rows))
    whole = torch.nn.functional.pad(grad, (0, -size % BLOCK)) if size % BLOCK else grad
    partial = grad.new_empty(triton.cdiv(blocks, span), batch, num_basis)
    sums = _sum(kernel, whole, partial, (seed, stream), (num_basis, blocks, span), rows, num_basis)
    return sums * (1 / (UNIT * math.sqrt(num_basis)))


def _group(source: torch.Tensor) -> int:
    """Rows that one tile of the basis serves, a power of two: above MULTIPLIED_ROWS on tensor cores."""
    rows = triton.next_power_of_2(source.shape[0])
    if rows <= MULTIPLIED_ROWS or not (
        INTERPRETED or torch.cuda.get_device_capability(source.device) >= (8, 0)
    ):
        return min(rows, MULTIPLIED_ROWS)  # older tensor cores take no bfloat16
    return min(rows, LARGEST_GROUP)


def _span(length: int, shortest: int, programs: int) -> int:
    """Length of the ranges that sums of `length` terms in `programs` programs are cut into, a power of two."""
    span = max(shortest, triton.next_power_of_2(triton.cdiv(length * programs, PROGRAMS)))
    return max(min(span, LONGEST), triton.next_power_of_2(triton.cdiv(length, MOST_RANGES)))


def _sum(
    kernel: Any,
    source: torch.Tensor,
    partial: torch.Tensor,
    address: tuple[int, int],
    lengths: tuple[int, int, int],
    rows: int,
    outputs: int,
) -> torch.Tensor:
    """Launch `kernel` over (tiles of the outputs, groups of rows, ranges) and add the ranges' partial sums.
    # shape: source (batch, n), partial (ranges, batch, m) -> (batch, m)"""
    ranges, batch = partial.shape[:2]

    def grid(chosen: dict[str, int]) -> tuple[int, int, int]:
        return triton.cdiv(outputs, chosen["TILE"]), triton.cdiv(batch, rows), ranges

    with torch.cuda.device_of(source):
        kernel[grid](
            source, partial, *map(signed, address), batch, *lengths, ROWS=rows, enable_fp_fusion=True
        )
    return partial[0] if ranges == 1 else partial.sum(0)
