"""Balanced indices: the specification's, on every backend."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from backends_here import BACKENDS_HERE
from nolakit.basis import stream_number, use_backend
from nolakit.basis.balanced import balanced_indices
from nolakit.errors import BasisError
from plain_philox import basis_bytes

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "indices_v1.json").read_text(encoding="utf-8"))
STREAM = stream_number("indices")


@pytest.mark.parametrize("backend, device", BACKENDS_HERE.items())
@pytest.mark.parametrize("row", GOLDEN["indices"], ids=lambda row: f"{row['size']} below {row['below']}")
def test_indices_are_golden(backend, device, row):
    with use_backend(backend):
        found = balanced_indices(
            row["size"], row["below"], seed=row["seed"], stream=row["stream"], device=device
        )
    assert found.dtype == torch.int32
    assert found[:12].tolist() == row["first"]
    assert hashlib.sha256(found.cpu().numpy().astype("<i4").tobytes()).hexdigest() == row["sha256"]


def test_the_specification_gives_them():
    size, below = 300, 17
    vectors = [basis_bytes(5, STREAM, i, 0, size) for i in range(4)]
    keys = [int.from_bytes(four, "big") % 2**31 for four in zip(*vectors, strict=True)]
    expected = [0] * size
    for rank, place in enumerate(sorted(range(size), key=lambda place: (keys[place], place))):
        expected[place] = rank % below
    assert balanced_indices(size, below, seed=5, stream=STREAM).tolist() == expected


@pytest.mark.parametrize("size, below", [(1000, 7), (1000, 1000), (30, 100), (64, 64), (1, 1)])
def test_each_number_is_there_as_often_as_any_other(size, below):
    counts = balanced_indices(size, below, seed=1, stream=STREAM).bincount(minlength=below)
    once_more = torch.arange(below) < size % below
    assert torch.equal(counts, size // below + once_more.long())


def test_neighbours_have_nothing_to_do_with_each_other():
    """Differences of neighbouring indices are spread as those of independent ones."""
    below = 64
    found = balanced_indices(200_000, below, seed=2, stream=STREAM)
    counts = ((found[1:] - found[:-1]) % below).bincount(minlength=below).double()
    expected = counts.mean()
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    assert chi2 < 63 + 4 * (2 * 63) ** 0.5


@pytest.mark.parametrize("size, below", [(0, 5), (5, 0), (2**31, 5), (5, 2**31)])
def test_sizes_out_of_range_are_refused(size, below):
    with pytest.raises(BasisError, match="expected both from 1"):
        balanced_indices(size, below, seed=0, stream=STREAM)
