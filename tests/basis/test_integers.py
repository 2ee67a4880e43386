"""Sums of small integers: exact, and so equal on every backend."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from backends_here import BACKENDS_HERE
from nolakit.basis import combine, combine_integers, stream_number, use_backend
from nolakit.errors import BasisError
from plain_philox import basis_bytes

SEED, STREAM = 11, stream_number("lora_B")
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "packed_v1.json").read_text(encoding="utf-8"))

CASES = [  # (batch, k, size, largest): one digit, two of them from k = 515 on, many; lanes and tensor cores
    (1, 1, 1, 127),
    (2, 7, 50, 127),
    (1, 514, 40, 127),
    (1, 515, 40, 127),
    (17, 600, 20, 127),
    (3, 40, 1100, 7),
    (1, 9000, 17, 127),
    (1, 65_280, 16, 127),
]


def exact_sums(values: torch.Tensor, size: int) -> np.ndarray:
    rows = [np.frombuffer(basis_bytes(SEED, STREAM, i, 0, size), np.uint8) for i in range(values.shape[1])]
    return values.numpy().astype(np.int64) @ (2 * np.stack(rows).astype(np.int64) - 255)


ROWS = [
    (backend, device, *case)
    for backend, device in BACKENDS_HERE.items()
    # Triton's interpreter takes 20 ms a basis vector where lanes sum
    for case in CASES
    if (backend, device) != ("triton", "cpu") or case[0] > 8 or case[1] < 100
]


@pytest.mark.parametrize("backend, device, batch, k, size, largest", ROWS)
@pytest.mark.parametrize("extreme", [False, True])
def test_sums_are_exact(backend, device, batch, k, size, largest, extreme):
    generator = torch.Generator().manual_seed(k)
    values = torch.randint(-largest, largest + 1, (batch, k), generator=generator, dtype=torch.int8)
    values = values.sign() * largest if extreme else values
    values[:, 0] = largest
    with use_backend(backend):
        sums = combine_integers(values.to(device), seed=SEED, stream=STREAM, size=size)
    assert sums.dtype == torch.int32
    assert np.array_equal(sums.cpu().numpy(), exact_sums(values, size))


@pytest.mark.parametrize("row", GOLDEN["sums"], ids=lambda row: f"k={len(row['values'])}")
@pytest.mark.parametrize("backend, device", BACKENDS_HERE.items())
def test_sums_are_golden(backend, device, row):
    values = torch.tensor([row["values"]], dtype=torch.int8, device=device)
    with use_backend(backend):
        sums = combine_integers(values, seed=row["seed"], stream=row["stream"], size=len(row["sums"]))
    assert sums[0].tolist() == row["sums"]


def test_sums_are_those_of_combine():
    values = torch.randint(-127, 128, (3, 64), dtype=torch.int8)
    sums = combine_integers(values, seed=SEED, stream=STREAM, size=900)
    floats = combine(values.float(), seed=SEED, stream=STREAM, size=900)
    assert (sums / (256 * 8) - floats).abs().max() < 1e-4


@pytest.mark.parametrize("values", [
    torch.zeros(1, 65_281, dtype=torch.int8), torch.zeros(1, 4), torch.zeros(4, dtype=torch.int8),
    torch.zeros(1, 0, dtype=torch.int8),
], ids=["too many", "floats", "no batch", "none"])  # fmt: skip
def test_what_has_no_exact_sum_is_refused(values):
    with pytest.raises(BasisError, match="expected int8"):
        combine_integers(values, seed=0, stream=0, size=4)
