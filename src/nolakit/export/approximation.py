"""The best LoRA factors of a rank for an update that has more.

    lora_B lora_A = U_r diag(S_r) V_r^T,   U diag(S) V^T the singular value decomposition of the update

No factors of the rank are nearer in the Frobenius norm (Eckart and Young, Psychometrika 1936).
"""

from __future__ import annotations

import math

import torch

from nolakit.adapter.contents import Adapter
from nolakit.adapter.expand import Updates
from nolakit.adapter.frozen import WeightAt
from nolakit.adapter.paths import FILE_PREFIX
from nolakit.methods.options import check_positive_integer


def approximation(
    adapter: Adapter, rank: int, *, weight_at: WeightAt | None = None, dtype: torch.dtype = torch.float32
) -> tuple[dict[str, torch.Tensor], float]:
    """Factors of a rank under the names that PEFT gives them, and how far their update is from the adapter's.

        error = sqrt(sum ||Delta - lora_B lora_A||^2 / sum ||Delta||^2)   over all modules, Frobenius norms

    Args:
        rank: at most; of a smaller module all that it has.

    Raises:
        ConfigError: a rank that is none. Others as `expand`.

    Cost: a singular value decomposition of each update.
    """
    check_positive_integer("approximate_rank", rank)
    updates = Updates(adapter, weight_at=weight_at)
    tensors: dict[str, torch.Tensor] = {}
    lost = norm = 0.0
    for module in adapter.modules():
        delta = updates.update(module)
        u, s, vh = torch.linalg.svd(delta, full_matrices=False)
        kept = min(rank, len(s))
        lost += float(s[kept:].double().square().sum())
        norm += float(s.double().square().sum())
        kernel, ones = module.dims["lora_A"][1:], module.dims["lora_B"][2:]
        key = FILE_PREFIX + module.path
        tensors[f"{key}.lora_A.weight"] = vh[:kept].reshape(kept, *kernel).to(dtype).contiguous()
        tensors[f"{key}.lora_B.weight"] = (
            (u[:, :kept] * s[:kept]).reshape(-1, kept, *ones).to(dtype).contiguous()
        )
    return tensors, math.sqrt(lost / norm) if norm else 0.0
