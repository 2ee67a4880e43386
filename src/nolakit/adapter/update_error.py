"""How far two adapters' updates are apart, without making the updates.

    ||B' A' - B A|| / ||B A||   over all modules together, in the Frobenius norm

B A and the difference are products of thin factors: ||P Q||^2 = tr((P^T P) (Q Q^T)), with Gram matrices of the rank.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch

from nolakit.adapter.contents import Adapter
from nolakit.adapter.expand import expand
from nolakit.errors import AdapterError


def update_error(adapter: str | Path | Adapter, other: str | Path | Adapter) -> float:
    """Relative distance of `other`'s update from the adapter's; 0.0 where both are zero.

    Raises:
        AdapterError: an adapter that cannot be read, or two of different modules. UnsupportedError: as `expand`.

    Cost: both expansions, held in memory.
    """
    factors, others = expand(adapter), expand(other)
    if factors.keys() != others.keys():
        raise AdapterError(
            f"found {len(factors) // 2} modules in one adapter and {len(others) // 2} in the other, or other names; "
            "expected the same"
        )
    difference = norm = 0.0
    for key in factors:
        if key.endswith(".lora_A.weight"):
            role_b = key.replace(".lora_A.weight", ".lora_B.weight")
            a, b, a2, b2 = (
                factor.flatten(1).double()
                for factor in (factors[key], factors[role_b], others[key], others[role_b])
            )
            norm += _squared(b, a)
            difference += _squared(torch.cat([b2, -b], dim=1), torch.cat([a2, a]))
    return math.sqrt(max(difference, 0.0) / norm) if norm else 0.0


def _squared(left: torch.Tensor, right: torch.Tensor) -> float:
    """||left right||^2. # shape: (out, r), (r, in)"""
    return float(((left.T @ left) * (right @ right.T)).sum())
