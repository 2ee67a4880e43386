"""How far two adapters' updates are apart, without making the updates.

    ||B' A' - B A|| / ||B A||   over all modules together, in the Frobenius norm

B A and the difference are products of thin factors: ||P Q||^2 = tr((P^T P) (Q Q^T)), with Gram matrices of the rank.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch

from nolakit.adapter.contents import Adapter
from nolakit.adapter.expand import Updates
from nolakit.adapter.files import open_adapter
from nolakit.adapter.frozen import WeightAt
from nolakit.errors import AdapterError


def update_error(
    adapter: str | Path | Adapter, other: str | Path | Adapter, *, weight_at: WeightAt | None = None
) -> float:
    """Relative distance of `other`'s update from the adapter's; 0.0 where both are zero.

    Args:
        weight_at: the base's weights, for methods that are computed from them.

    Raises:
        AdapterError: an adapter that cannot be read, or two of different modules. Others as `expand`.

    Cost: both expansions, held in memory; of a dense method two updates at a time.
    """
    first, second = (one if isinstance(one, Adapter) else open_adapter(one) for one in (adapter, other))
    modules, others = (
        first.checked_modules(),
        {module.canonical: module for module in second.checked_modules()},
    )
    if {module.canonical for module in modules} != others.keys():
        raise AdapterError(
            f"found {len(modules)} modules in one adapter and {len(others)} in the other, or other names; "
            "expected the same"
        )
    updates, changed = Updates(first, weight_at=weight_at), Updates(second, weight_at=weight_at)
    difference = norm = 0.0
    for module in modules:
        there = others[module.canonical]
        if updates.dense or changed.dense:
            delta = updates.update(module).double()
            norm += float(delta.square().sum())
            difference += float((changed.update(there).double() - delta).square().sum())
            continue
        a, b = (one.flatten(1).double() for one in updates.both(module))
        a2, b2 = (one.flatten(1).double() for one in changed.both(there))
        norm += _squared(b, a)
        difference += _squared(torch.cat([b2, -b], dim=1), torch.cat([a2, a]))
    return math.sqrt(max(difference, 0.0) / norm) if norm else 0.0


def _squared(left: torch.Tensor, right: torch.Tensor) -> float:
    """||left right||^2. # shape: (out, r), (r, in)"""
    return float(((left.T @ left) * (right @ right.T)).sum())
