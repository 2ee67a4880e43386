"""Curves: time against num_basis, rank, rows that share a basis, modules, and batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from cold_expansion import expansion_work
from nolakit.basis import combine, use_backend
from training_models import LLAMA
from training_step import LORA, step_work
from work import OURS, Cost, Work

WIDTH = 4096


def works() -> Iterator[Work]:
    for num_basis in (16, 64, 256, 1024, 4096):
        yield _combine(f"num_basis, {WIDTH} x 8 entries", num_basis, 1, num_basis, 8)
    for rank in (1, 4, 16, 64):
        yield _combine(f"rank, {WIDTH} inputs, num_basis 512", rank, 1, 512, rank)
    for rows in (1, 4, 16, 64, 256):
        yield _combine(f"factors that share a basis, {WIDTH} x 8, num_basis 512", rows, rows, 512, 8)
    for share_basis in (True, False):
        label = "shared" if share_basis else "unique"
        for layers in (1, 4, 16, 64):
            curve = (f"modules expanded from a file, {label} basis", 2 * layers)
            yield replace(expansion_work(layers, share_basis=share_basis, curve=curve), rounds=3)
    for batch in (1, 4, 16):
        work = step_work(LLAMA, "all-linear", (OURS, LORA), 1, batch, rounds=3)
        yield replace(work, curve=("batch of 128 tokens, step of Llama 37M, all-linear", batch))


def _combine(curve: str, x: int, rows: int, num_basis: int, rank: int) -> Work:
    size = WIDTH * rank
    generator = torch.Generator().manual_seed(0)
    coefficients = torch.randn(rows, num_basis, generator=generator)

    def ours() -> torch.Tensor:
        return combine(coefficients, seed=1, stream=2, size=size)

    def check() -> None:
        with use_backend("reference"):
            expected = combine(coefficients[:1], seed=1, stream=2, size=size)
        torch.testing.assert_close(ours()[:1], expected, rtol=1e-4, atol=1e-4)

    stored = torch.rand(num_basis, size, generator=generator)
    return Work(
        f"combine, {rows} x {num_basis} -> {size}",
        {OURS: ours, "stored basis": lambda: coefficients @ stored},
        check,
        Cost(multiply_adds=rows * num_basis * size, blocks=num_basis * size / 16),
        curve=(curve, x),
        rounds=5,
        calls=10,
    )
