"""`combine` and `project` against the official way and against a basis that is kept in memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from nolakit.basis import combine, project, stream_number, use_backend
from work import Work

NUM_BASIS, SIZE, SEED = 512, 32768, 1
STREAM = stream_number("lora_A")


def works() -> Iterator[Work]:
    """Single and batched operations."""
    generator = torch.Generator().manual_seed(0)
    grad = torch.randn(SIZE, generator=generator)
    stored = torch.rand(NUM_BASIS, SIZE, generator=generator)
    for rows in (1, 32):
        coefficients = torch.randn(rows, NUM_BASIS, generator=generator)

        def ours(coefficients=coefficients):
            return combine(coefficients, seed=SEED, stream=STREAM, size=SIZE)

        def official(coefficients=coefficients):
            draw = torch.Generator().manual_seed(SEED)  # the official code seeds the global one
            basis = torch.empty(NUM_BASIS, SIZE).uniform_(-1, 1, generator=draw)
            return torch.einsum("bk,kn->bn", coefficients, basis)

        def check(ours=ours):
            with use_backend("reference"):
                expected = ours()
            torch.testing.assert_close(ours(), expected, rtol=1e-5, atol=1e-5)

        candidates = {
            "nolakit": ours,
            "stored basis": lambda c=coefficients: c @ stored,
            "official way": official,
        }
        for against, target in (("stored basis", 1.0), ("official way", 1 / 60)):
            yield Work(
                f"combine, {rows} x {NUM_BASIS} -> {SIZE}, against {against}",
                {name: candidates[name] for name in ("nolakit", against)},
                check,
                against,
                target if rows == 1 else None,
                amount=rows * NUM_BASIS * SIZE,
            )

    def ours_project():
        return project(grad, num_basis=NUM_BASIS, seed=SEED, stream=STREAM)

    def check_project():
        with use_backend("reference"):
            expected = ours_project()
        torch.testing.assert_close(ours_project(), expected, rtol=1e-4, atol=1e-4)

    yield Work(
        f"project, {SIZE} -> {NUM_BASIS}, against stored basis",
        {"nolakit": ours_project, "stored basis": lambda: stored @ grad},
        check_project,
        "stored basis",
        1.0,
        amount=NUM_BASIS * SIZE,
    )
