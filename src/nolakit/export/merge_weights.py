"""The arithmetic of merging, one weight at a time."""

from __future__ import annotations

from typing import Any

import torch

from nolakit.adapter.expand import Updates
from nolakit.errors import AdapterError
from nolakit.export.merge_plan import Plan, Update, Weight

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def add_update(weight: torch.Tensor, delta: torch.Tensor, update: Update) -> torch.Tensor:
    """`W + scaling * delta` in float32, or float64 where the weight is.

    Args:
        weight: (out, in), (in, out) where it is stored transposed, or (out, in, height, width).
        delta: float32, changed in place. # shape: (out, inputs)
    """
    delta = delta.mul_(update.scaling)
    delta = delta.T if update.transposed else delta.view(weight.shape)
    return delta.add_(weight) if weight.dtype != torch.float64 else weight + delta


def merged_weight(
    name: str, weight: Weight, plan: Plan, stored: Any, updates: Updates, wanted: str | None
) -> torch.Tensor:
    """One tensor of the merged model."""
    value = stored.get_tensor(weight.stored) if weight.stored else plan.base.get_tensor(weight.base or name)
    dtype = DTYPES.get(weight.dtype(wanted), value.dtype)
    if weight.tokens is not None:
        key, rows = weight.tokens
        value = value.index_copy(0, torch.tensor(rows), stored.get_tensor(key).to(value.dtype))
    if weight.update is not None:
        value = add_update(value, updates.update(weight.update.module), weight.update)
    value = value.to(dtype)
    if (weight.update or weight.stored or weight.tokens) and not value.isfinite().all():
        raise AdapterError(
            f"found numbers in the merged {name!r} that are not finite in {str(dtype).removeprefix('torch.')}; take a "
            "wider --dtype, or an adapter whose training did not diverge"
        )
    return value.contiguous()
