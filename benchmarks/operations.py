"""`combine` and `project` against a basis that is drawn anew, as the official code does, and one kept in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from nolakit.basis import combine, project, stream_number, use_backend
from work import OURS, Cost, Work

NUM_BASIS, SIZE, SEED = 512, 32768, 1
STREAM = stream_number("lora_A")
TARGETS = {"stored basis": 1.0, "drawn anew": 1 / 60}


def works() -> Iterator[Work]:
    """Single and batched operations.

    "drawn anew" is a seeded uniform_ and an einsum. "official code" is what that does in each forward and backward:
    also zeros before, a product of the whole basis with 1 / sqrt(k), and, backward, a permuted copy.
    """
    generator = torch.Generator().manual_seed(0)
    stored = torch.rand(NUM_BASIS, SIZE, generator=generator)

    def drawn(empty=torch.empty) -> torch.Tensor:
        draw = torch.Generator().manual_seed(SEED)  # the official code seeds the global one
        return empty(NUM_BASIS, SIZE).uniform_(-1, 1, generator=draw)

    def official() -> torch.Tensor:
        return drawn(torch.zeros) * (1 / math.sqrt(NUM_BASIS))

    for rows in (1, 32):
        coefficients = torch.randn(rows, NUM_BASIS, generator=generator)
        grad = torch.randn(rows, SIZE, generator=generator)
        yield _work(
            f"combine, {rows} x {NUM_BASIS} -> {SIZE}",
            rows,
            {
                OURS: lambda c=coefficients: combine(c, seed=SEED, stream=STREAM, size=SIZE),
                "stored basis": lambda c=coefficients: c @ stored,
                "drawn anew": lambda c=coefficients: torch.einsum("bk,kn->bn", c, drawn()),
                "official code": lambda c=coefficients: torch.einsum("bk,kn->bn", c, official()),
            },
            1e-5,
        )
        yield _work(
            f"project, {rows} x {SIZE} -> {NUM_BASIS}",
            rows,
            {
                OURS: lambda g=grad: project(g, num_basis=NUM_BASIS, seed=SEED, stream=STREAM),
                "stored basis": lambda g=grad: g @ stored.T,
                "drawn anew": lambda g=grad: torch.einsum("bn,kn->bk", g, drawn()),
                "official code": lambda g=grad: torch.einsum("bn,nk->bk", g, official().T.contiguous()),
            },
            1e-4,
        )


def _work(name: str, rows: int, candidates: dict, tolerance: float) -> Work:
    def check() -> None:
        ours = candidates[OURS]
        with use_backend("reference"):
            expected = ours()
        torch.testing.assert_close(ours(), expected, rtol=tolerance, atol=tolerance)

    entries = NUM_BASIS * SIZE
    return Work(
        name,
        candidates,
        check,
        Cost(multiply_adds=rows * entries, blocks=entries / 16),
        TARGETS if rows == 1 else {},
        rounds=7,
        calls=10,
    )
