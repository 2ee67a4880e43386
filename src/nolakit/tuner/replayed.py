"""A computation whose graph saves nothing that a backward pass frees, so that it serves any number of them.

    outputs = make(inputs);   backward: make again, with gradients, and differentiate that

As gradient checkpointing does for layers. Sums over many uses reach it once a backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

Make = Callable[[Sequence[torch.Tensor]], Sequence[torch.Tensor]]


def replayed(make: Make, inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    """`make(inputs)`, differentiable once, any number of times.

    Args:
        make: a function of its arguments and of what does not change; it holds nothing that holds the outputs.
    """
    if not torch.is_grad_enabled() or not any(one.requires_grad for one in inputs):
        return make(inputs)
    return _Replayed.apply(make, *inputs)


class _Replayed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, make: Make, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        # copies: no output may be a view of a parameter, which an optimizer writes to even where nothing changes
        ctx.make, ctx.inputs = make, [one.detach().clone() for one in inputs]
        return tuple(make(ctx.inputs))

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        needed = ctx.needs_input_grad[1:]
        with torch.enable_grad():
            inputs = [one.detach().requires_grad_(need) for one, need in zip(ctx.inputs, needed, strict=True)]
            outputs = ctx.make(inputs)
        pairs = [
            (out, grad)
            for out, grad in zip(outputs, grads, strict=True)
            if out.requires_grad and grad is not None
        ]
        wanted = [one for one, need in zip(inputs, needed, strict=True) if need]
        found = iter(
            torch.autograd.grad(
                [out for out, _ in pairs], wanted, [grad for _, grad in pairs], allow_unused=True
            )
            if pairs
            else [None] * len(wanted)
        )
        return None, *(next(found) if need else None for need in needed)
