"""The arithmetic of merging, one weight at a time."""

from __future__ import annotations

from typing import Any

import torch

from nolakit.adapter.paths import FILE_PREFIX
from nolakit.errors import AdapterError
from nolakit.export.merge_plan import Plan, Update, Weight

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def add_update(
    weight: torch.Tensor, lora_a: torch.Tensor, lora_b: torch.Tensor, update: Update
) -> torch.Tensor:
    """`W + scaling * lora_B lora_A` in float32, or float64 where the weight is.

    Args:
        weight: (out, in), (in, out) where it is stored transposed, or (out, in, height, width).
        lora_a, lora_b: (rank, in...) and (out, rank...) in float32.
    """
    delta = (lora_b.flatten(1) @ lora_a.flatten(1)).mul_(update.scaling)
    delta = delta.T if update.transposed else delta.view(weight.shape)
    return delta.add_(weight) if weight.dtype != torch.float64 else weight + delta


def merged_weight(
    name: str, weight: Weight, plan: Plan, stored: Any, factors: dict[str, torch.Tensor], wanted: str | None
) -> torch.Tensor:
    """One tensor of the merged model."""
    value = stored.get_tensor(weight.stored) if weight.stored else plan.base.get_tensor(weight.base or name)
    dtype = DTYPES.get(weight.dtype(wanted), value.dtype)
    if weight.tokens is not None:
        key, rows = weight.tokens
        value = value.index_copy(0, torch.tensor(rows), stored.get_tensor(key).to(value.dtype))
    if weight.update is not None:
        path = FILE_PREFIX + weight.update.module.path
        value = add_update(
            value, factors[f"{path}.lora_A.weight"], factors[f"{path}.lora_B.weight"], weight.update
        )
    value = value.to(dtype)
    if (weight.update or weight.stored or weight.tokens) and not value.isfinite().all():
        raise AdapterError(
            f"found numbers in the merged {name!r} that are not finite in {str(dtype).removeprefix('torch.')}; take a "
            "wider --dtype, or an adapter whose training did not diverge"
        )
    return value.contiguous()
