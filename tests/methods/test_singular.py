"""Singular vectors are the weight's, and the same wherever they are computed."""

import pytest
import torch

from nolakit.errors import ConfigError
from nolakit.methods.singular import check_singular_rank, leading_singular
from nolakit.methods.site import Site

SIZE = 256


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def falling(power, rows=SIZE, columns=SIZE):
    """Singular values k^-power; 0.3 to 1 is what pre-trained weights have."""
    least = min(rows, columns)
    u, v = (torch.linalg.qr(gaussian(size, least, seed=size)).Q for size in (rows, columns))
    return u * torch.arange(1, least + 1) ** -power @ v.T


def hadamard(doublings):
    matrix = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(doublings):
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix


WEIGHTS = {
    "falling": falling(0.5),
    "wide": falling(0.5, 192, 320),
    "gaussian": gaussian(SIZE, SIZE),
    "rank 5": gaussian(SIZE, 5) @ gaussian(5, SIZE, seed=1),
    "one large": gaussian(SIZE, SIZE) + 1e5 * torch.outer(gaussian(SIZE), gaussian(SIZE, seed=1)),
}
TIED = {
    "identity": torch.eye(SIZE, dtype=torch.float64),
    "equal sizes": hadamard(7),
    "rows twice": gaussian(64, SIZE).repeat(2, 1),
    "rows and their negatives": torch.cat([gaussian(64, SIZE), -gaussian(64, SIZE)]),
    "zero": torch.zeros(SIZE, SIZE, dtype=torch.float64),
}


@pytest.mark.parametrize(
    "name, rank, tolerance", [("falling", 12, 1e-5), ("wide", 12, 1e-5), ("rank 5", 5, 1e-4)]
)
def test_vectors_are_those_of_the_whole_svd(name, rank, tolerance):
    weight = WEIGHTS[name]
    u, s, v = leading_singular(weight.float(), rank)
    expected_u, expected_s, expected_v = torch.linalg.svd(weight, full_matrices=False)
    signs = (u * expected_u[:, :rank]).sum(0).sign()
    torch.testing.assert_close(s.double(), expected_s[:rank], rtol=tolerance, atol=0)
    torch.testing.assert_close(u.double(), expected_u[:, :rank] * signs, rtol=0, atol=10 * tolerance)
    torch.testing.assert_close(v.double(), expected_v[:rank].T * signs, rtol=0, atol=10 * tolerance)


@pytest.mark.parametrize("name", [*WEIGHTS, *TIED])
def test_both_sides_are_orthonormal_and_belong_together(name):
    weight = {**WEIGHTS, **TIED}[name]
    u, s, v = leading_singular(weight.float(), 12)
    assert u.dtype == s.dtype == v.dtype == torch.float32
    for side in (u, v):
        torch.testing.assert_close(side.T @ side, torch.eye(12), rtol=0, atol=2e-6)
    assert s.diff().max() <= 1e-6 * s[0] and s.min() >= 0
    torch.testing.assert_close(
        u.T.double() @ weight, (s[:, None] * v.T).double(), rtol=0, atol=3e-6 * max(s[0], 1)
    )


def test_a_flat_spectrum_loses_little():
    """Random weights: 12 vectors hold nearly as much of the weight as the best ones do."""
    weight = WEIGHTS["gaussian"]
    _, s, _ = leading_singular(weight.float(), 12)
    best = torch.linalg.svdvals(weight)[:12]
    assert 0.998 < s.double().square().sum() / best.square().sum() <= 1 + 1e-6


@pytest.mark.parametrize("name", ["falling", "wide", "gaussian", "rank 5"])
def test_a_weight_that_is_rounded_otherwise_gives_nearly_the_same_vectors(name):
    weight = WEIGHTS[name]
    rank = 5 if name == "rank 5" else 12  # the others belong to a singular value of zero
    noise = gaussian(*weight.shape, seed=9)
    other = weight + 1e-7 * noise * weight.norm() / noise.norm()
    for one, two in zip(leading_singular(weight, rank), leading_singular(other, rank), strict=True):
        assert (one - two).norm() / one.norm() < 1e-5


@pytest.mark.parametrize("name", [*WEIGHTS, *TIED])
def test_another_lapack_gives_the_same_vectors(name):
    """One whose sums are rounded otherwise: the weight is disturbed where float64 ends. Equal singular values and
    entries of equal size would leave vectors and signs to that."""
    weight = {**WEIGHTS, **TIED}[name]
    other = weight * (1 + 1e-15 * gaussian(*weight.shape, seed=9))
    for one, two in zip(leading_singular(weight, 12), leading_singular(other, 12), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-5 * float(one.abs().max()))


def test_all_singular_vectors_of_a_small_weight():
    u, s, v = leading_singular(gaussian(7, 10), 7)
    torch.testing.assert_close(u * s @ v.T, gaussian(7, 10).float(), rtol=0, atol=1e-5)


def test_more_vectors_than_there_are_are_refused():
    check_singular_rank(Site("a.b", (4, 9), (4, 4)))
    with pytest.raises(ConfigError, match=r"r=5 for the 4 x 9 weight of 'a.b'"):
        check_singular_rank(Site("a.b", (5, 9), (4, 5)))
