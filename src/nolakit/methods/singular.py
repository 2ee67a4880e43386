"""Leading singular vectors of a weight, the same on every LAPACK up to rounding.

    W ~ U diag(S) V^T,   U (out, rank), S (rank,), V (in, rank)

By subspace iteration from the portable basis: what is not converged still depends on the weight and the start alone,
in a few products, a QR and a small SVD of float64, so that builds of LAPACK agree to rounding. Signs are chosen: the
entry of largest size in each column of U is positive. Only singular values that are equal to rounding leave their
vectors undetermined; a check on load finds that (`nolakit.adapter.frozen`).

Source: Halko, Martinsson, Tropp, SIAM Review 2011, algorithm 4.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nolakit import basis

if TYPE_CHECKING:
    import torch

OVERSAMPLING = 16
ITERATIONS = 6


def leading_singular(weight: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """U, S and V of the `rank` largest singular values, float32.

    Args:
        weight: of any floating dtype. # shape: (out, in)

    Cost: (4 * ITERATIONS + 4) * out * in * (rank + OVERSAMPLING) operations in float64.
    """
    import torch

    with torch.no_grad(), torch.autocast(weight.device.type, enabled=False):
        wide = weight.detach().double()
        columns = min(rank + OVERSAMPLING, *wide.shape)
        if columns == min(wide.shape):
            u, s, vh = torch.linalg.svd(wide, full_matrices=False)
        else:
            stream = basis.stream_number("singular")
            start = basis.vector(wide.shape[1] * columns, seed=0, stream=stream, device=wide.device)
            found = torch.linalg.qr(wide @ start.double().view(wide.shape[1], columns)).Q
            for _ in range(ITERATIONS):
                found = torch.linalg.qr(wide @ torch.linalg.qr(wide.T @ found).Q).Q
            u, s, vh = torch.linalg.svd(found.T @ wide, full_matrices=False)
            u = found @ u
        u, s, v = u[:, :rank], s[:rank], vh[:rank].T
        largest = u.abs().argmax(dim=0)
        signs = u.gather(0, largest[None]).sign()
        return (u * signs).float(), s.float(), (v * signs).float().contiguous()
