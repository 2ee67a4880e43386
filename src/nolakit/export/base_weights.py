"""The base's weights as methods take them that are computed from them: by canonical path, as matrices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nolakit.adapter.contents import Adapter
from nolakit.adapter.frozen import WeightAt

if TYPE_CHECKING:
    import torch

    from nolakit.export.merge_plan import Plan


def weights_of(adapter: Adapter, base: str | Path | None = None) -> WeightAt | None:
    """The weights that an adapter's method needs to be expanded; None where it needs none.

    Args:
        base: a folder or a hub id; None is the base that the adapter names.

    Raises:
        ModelError, AdapterError: a base that cannot be read.
        BaseMismatchError: a weight that is not of the adapter's shape.
        StreamingError: a base whose files name or store weights otherwise than its model does.
    """
    if not adapter.computed or not adapter.layout.method.needs_weights:
        return None
    from nolakit.export.base_files import (  # the hub's client, which most adapters do not need
        base_of,
        open_base,
    )
    from nolakit.export.merge_plan import new_plan, plan_updates

    plan = new_plan(adapter, open_base(*base_of(adapter, base)))
    plan_updates(plan)
    return planned_weights(plan)


def planned_weights(plan: Plan) -> WeightAt:
    """The weights of a plan whose updates are planned, each read when it is asked for."""
    planned = {
        weight.update.module.canonical: (weight.base or name, weight.update)
        for name, weight in plan.weights.items()
        if weight.update is not None
    }

    def weight_at(path: str) -> torch.Tensor:
        name, update = planned[path]
        value = plan.base.get_tensor(name)
        return value.T if update.transposed else value.flatten(1)

    return weight_at
