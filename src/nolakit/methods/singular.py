"""Leading singular vectors of a weight, the same on every LAPACK up to rounding.

    W ~ U diag(S) V^T,   U (out, rank), S (rank,), V (in, rank)

Subspace iteration from the portable basis in float64: two plain steps, then Chebyshev polynomials T_2 of W W^T, scaled
so that the smallest singular value of the subspace is at the end of their flat interval. What is not converged (the
last vectors of a slowly falling spectrum) still depends on the weight and the start alone, smoothly.

Equal singular values would leave their vectors to LAPACK: a fixed random matrix of 1e-7 of W's entries, the size of
their rounding in float32, is added and makes them unequal. Signs are chosen: in each column of U the first entry within
0.1 % of the largest size is positive, so that entries of equal size do not leave the sign to rounding. A check on load
finds what is left (`nolakit.adapter.frozen`): another weight.

Source: Halko, Martinsson, Tropp, SIAM Review 2011, algorithm 4.4; Zhou and Saad, SIAM J. Matrix Anal. 2007, for the
polynomials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nolakit import basis
from nolakit.errors import ConfigError
from nolakit.methods.site import Site

if TYPE_CHECKING:
    import torch

OVERSAMPLING = 16
PLAIN, FILTERED = 2, 4  # steps
TIE_BREAK = 1e-7
SMALLEST = 3e-6  # of the squared singular values that the polynomials tell apart, relative to the largest


def leading_singular(weight: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """U, S and V of the `rank` largest singular values, float32.

    Args:
        weight: of any floating dtype. # shape: (out, in)

    Cost: 22 products of W with rank + OVERSAMPLING vectors in float64; the whole SVD where that is less.
    """
    import torch

    place = "cpu" if weight.device.type == "mps" else weight.device  # which has no float64
    with torch.no_grad(), torch.autocast(weight.device.type, enabled=False):
        wide = weight.detach().to(place, torch.float64)
        size = float(wide.square().mean().sqrt()) or 1.0
        wide = wide + size * TIE_BREAK * _random("singular_ties", wide.shape, wide.device)
        rows = rank + OVERSAMPLING
        if 2 * rows >= min(wide.shape):
            u, s, vh = torch.linalg.svd(wide, full_matrices=False)
        else:
            found = _subspace(wide, rows)
            u, s, vh = torch.linalg.svd(found @ wide, full_matrices=False)
            u = found.T @ u
        u, s, v = u[:, :rank], s[:rank], vh[:rank].T
        sizes = u.abs()
        first = (sizes >= 0.999 * sizes.amax(dim=0)).int().argmax(dim=0)
        signs = u.gather(0, first[None]).sign()
        return tuple(one.float().contiguous().to(weight.device) for one in (u * signs, s, v * signs))  # pyright: ignore[reportReturnType]


def check_singular_rank(site: Site) -> None:
    """Raises ConfigError where a weight has fewer singular vectors than its rank."""
    if site.rank > min(site.outputs, site.inputs):
        raise ConfigError(
            f"found r={site.rank} for the {site.outputs} x {site.inputs} weight of {site.path!r}, which has "
            f"{min(site.outputs, site.inputs)} singular vectors; take a smaller r, or a rank_pattern"
        )


def _subspace(wide: torch.Tensor, rows: int) -> torch.Tensor:
    """Orthonormal rows that nearly span the leading left singular vectors. # shape: (rows, out)"""
    import torch

    found = _orthonormal(_random("singular", (rows, wide.shape[1]), wide.device) @ wide.T)
    for _ in range(PLAIN):
        found = _orthonormal((found @ wide) @ wide.T)
    for _ in range(FILTERED):
        back = found @ wide
        values, vectors = torch.linalg.eigh(back @ back.T)  # ascending: squares of singular values
        cut = values[0].maximum(values[-1] * SMALLEST)
        found, back = vectors.T @ found, vectors.T @ back  # rows nearly singular vectors: none drowns another
        first = (2 / cut) * (back @ wide.T) - found  # T_1
        second = (4 / cut) * ((first @ wide) @ wide.T) - 2 * first - found  # T_2
        found = _orthonormal(second.flip(0))
    return found


def _orthonormal(rows: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.linalg.qr(rows.T).Q.T


def _random(role: str, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    size = shape[0] * shape[1]
    made = basis.vector(size, seed=0, stream=basis.stream_number(role), device=device)
    return made.double().view(shape)
