"""A linear map whose matrix is made again for the backward pass, and not kept in between.

    y = x W^T,  W = make(numbers);   dx = dy W,   dnumbers = make's adjoint of dy^T x

Kept for the backward pass: the numbers, and x where they are trained. A matrix of a layer's own size, or a frozen one
that a seed regenerates, costs no memory between the passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

Make = Callable[..., torch.Tensor]


def remade_linear(x: torch.Tensor, make: Make, *numbers: torch.Tensor) -> torch.Tensor:
    """`x make(*numbers)^T`, in the dtype of x, outside of autocast.

    Args:
        x: # shape: (*batch, in)
        make: a matrix (out, in) of any floating dtype, differentiable in `numbers`; equal for equal numbers.

    Returns:
        # shape: (*batch, out)

    Cost: `make` twice a training step. torch.compile, which plans what is kept itself, sees the product alone.
    """
    differentiated = torch.is_grad_enabled() and any(one.requires_grad for one in (x, *numbers))
    if torch.compiler.is_compiling() or not differentiated:
        return F.linear(x, make(*numbers).to(x.dtype))
    return _RemadeLinear.apply(make, x, *numbers)  # pyright: ignore[reportReturnType] - torch types it as Any


class _RemadeLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, make: Make, x: torch.Tensor, *numbers: torch.Tensor) -> torch.Tensor:
        ctx.make, ctx.trained = make, any(ctx.needs_input_grad[2:])
        ctx.save_for_backward(*([x] if ctx.trained else []), *numbers)
        return F.linear(x, make(*numbers).to(x.dtype))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        saved = list(ctx.saved_tensors)
        x = saved.pop(0) if ctx.trained else None
        with torch.autocast(grad.device.type, enabled=False):
            with torch.set_grad_enabled(ctx.trained):
                needed = ctx.needs_input_grad[2:]
                numbers = [one.detach().requires_grad_(need) for one, need in zip(saved, needed, strict=True)]
                matrix = ctx.make(*numbers).to(grad.dtype)
            to_x = grad @ matrix.detach() if ctx.needs_input_grad[1] else None
            if x is None:
                return None, to_x, *([None] * len(numbers))
            to_matrix = grad.flatten(0, -2).T @ x.flatten(0, -2)
            wanted = [one for one in numbers if one.requires_grad]
            found = iter(torch.autograd.grad(matrix, wanted, to_matrix, allow_unused=True))
        return None, to_x, *(next(found) if one.requires_grad else None for one in numbers)
