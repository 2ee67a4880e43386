"""`combine` and its adjoint `project`, as torch operators.

Both are registered with torch, so that autograd differentiates one with the other (to any order),
torch.compile keeps them in its graph, and meta tensors get shapes without work.
"""

from __future__ import annotations

import torch

from nolakit.basis.backends import backend_for
from nolakit.basis.streams import BLOCK, MAX_INDEX, UINT64, check_seed, signed
from nolakit.errors import BasisError


def combine(coefficients: torch.Tensor, *, seed: int, stream: int, size: int) -> torch.Tensor:
    """The linear combination of `num_basis` frozen random vectors that a seed regenerates.

        out[j] = 1 / sqrt(k) sum_{i < k} c_i B_i[j],   B_i[j] = U(-1, 1) in 256 steps

    Args:
        coefficients: the numbers c, in any floating dtype. # shape: (*batch, k)
        seed: the adapter's seed, in [0, 2**64).
        stream: a stream number, see `stream_number`, in [0, 2**64).
        size: entries of the result, at most 2**36.

    Returns:
        float32, or float64 where the coefficients are float64, summed in that precision whatever the
        autocast state. # shape: (*batch, size)

    Raises:
        BasisError: a seed, stream, size or tensor outside what is said above.

    Cost: k * size multiply-adds per row and 10/16 of a Philox round per entry, once per batch. On the
    CPU no basis is held in memory. Source: NOLA (arXiv 2310.02556), equation 3; entries in
    `docs/format.md`.
    """
    check_address(seed, stream, size)
    _check(coefficients, "coefficients")
    rows = _rows(coefficients)
    out = _combine(rows, signed(seed), signed(stream), size)
    return out.reshape(*coefficients.shape[:-1], size)


def project(grad: torch.Tensor, *, num_basis: int, seed: int, stream: int) -> torch.Tensor:
    """The adjoint of `combine`: inner products with every basis vector.

        out[i] = 1 / sqrt(k) sum_j B_i[j] G[j]

    Args:
        grad: the vector G, in any floating dtype. # shape: (*batch, size)
        num_basis: k, the number of basis vectors, at most 2**32.
        seed, stream: as in `combine`.

    Returns:
        float32, or float64 where `grad` is float64. # shape: (*batch, num_basis)

    Raises:
        BasisError: a seed, stream, num_basis or tensor outside what is said above.

    Cost: as `combine`.
    """
    check_address(seed, stream, 1)
    _check(grad, "grad")
    if not 0 < num_basis <= MAX_INDEX:
        raise BasisError(f"found num_basis {num_basis}; expected 1 to 2**32")
    rows = _rows(grad)
    out = _project(rows, num_basis, signed(seed), signed(stream))
    return out.reshape(*grad.shape[:-1], num_basis)


def vector(
    size: int, *, seed: int, stream: int, bound: float = 1.0, device: torch.device | str | None = None
) -> torch.Tensor:
    """One frozen random vector, the first of its stream: bound * U(-1, 1) in 256 steps.

    Args:
        bound: rounded to float32 before the product with the exact entry, which is rounded to float32 once.

    Returns:
        float32. # shape: (size,)

    Raises:
        BasisError: as `combine`.
    """
    one = torch.ones(1, 1, device=device)
    check_address(seed, stream, size)
    if type(one) is torch.Tensor and one.device.type != "meta" and not torch.compiler.is_compiling():
        return (
            backend_for(one).combine(one, seed, stream, size)[0] * bound
        )  # nothing to differentiate: half the time
    return _combine(one, signed(seed), signed(stream), size)[0] * bound


@torch.library.custom_op("nolakit::combine", mutates_args=())
def _combine(coefficients: torch.Tensor, seed: int, stream: int, size: int) -> torch.Tensor:
    return backend_for(coefficients).combine(coefficients, seed % UINT64, stream % UINT64, size)


@torch.library.custom_op("nolakit::project", mutates_args=())
def _project(grad: torch.Tensor, num_basis: int, seed: int, stream: int) -> torch.Tensor:
    return backend_for(grad).project(grad, num_basis, seed % UINT64, stream % UINT64)


@_combine.register_fake
def _(coefficients, seed, stream, size):
    return coefficients.new_empty(coefficients.shape[0], size)


@_project.register_fake
def _(grad, num_basis, seed, stream):
    return grad.new_empty(grad.shape[0], num_basis)


def _remember_combine(ctx, inputs, output):
    coefficients, ctx.seed, ctx.stream, _ = inputs
    ctx.num_basis = coefficients.shape[1]


def _remember_project(ctx, inputs, output):
    grad, _, ctx.seed, ctx.stream = inputs
    ctx.size = grad.shape[1]


def _combine_backward(ctx, grad):
    return _project(grad.contiguous(), ctx.num_basis, ctx.seed, ctx.stream), None, None, None


def _project_backward(ctx, grad):
    return _combine(grad.contiguous(), ctx.seed, ctx.stream, ctx.size), None, None, None


_combine.register_autograd(_combine_backward, setup_context=_remember_combine)
_project.register_autograd(_project_backward, setup_context=_remember_project)


def check_address(seed: int, stream: int, size: int) -> None:
    """Raises BasisError for a seed, stream or size that no basis vector has."""
    check_seed(seed)
    if not 0 <= stream < UINT64:
        raise BasisError(f"found stream {stream!r}; expected an integer from 0 to 2**64 - 1")
    if not 0 < size <= MAX_INDEX * BLOCK:
        raise BasisError(f"found size {size}; expected 1 to 2**36 entries")


def _check(tensor: torch.Tensor, name: str) -> None:
    if tensor.dim() == 0 or tensor.shape[-1] == 0 or not tensor.is_floating_point():
        raise BasisError(
            f"found {name} of dtype {tensor.dtype} and shape {tuple(tensor.shape)}; "
            "expected floating-point numbers with at least one dimension and one entry in the last"
        )


def _rows(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in its accumulation dtype with one batch dimension, contiguous."""
    wide = tensor if tensor.dtype == torch.float64 else tensor.float()
    return wide.reshape(-1, wide.shape[-1]).contiguous()
