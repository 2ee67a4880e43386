"""Ranks by the energy of weights: as many singular vectors of each layer as hold a share of its weight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from torch import nn

from nolakit.adapter.patterns import by_pattern
from nolakit.errors import ConfigError, TargetError


def energy_ranks(
    model: nn.Module, target_modules: str | Sequence[str], energy: float = 0.63
) -> dict[str, Any]:
    """Options of a configuration that give each layer the rank its weight asks for, and a scaling of 1.

        Q = the least with sum_{i<=Q} s_i^2 >= energy sum_i s_i^2      s the singular values of W (out, in)

        BasisConvConfig(**nolakit.energy_ranks(model, ["conv1", "conv2"], 0.63))

    Args:
        model: the base.
        target_modules: as a configuration takes them, but no shorthand: names, or a regular expression.
        energy: the share. Basis convolution's official code takes 0.63.

    Returns:
        target_modules, r, lora_alpha, rank_pattern and alpha_pattern.

    Raises:
        ConfigError: a share that is none.
        TargetError: no layer with a weight has such a name.

    Cost: the singular values of each weight, in float64. Source: Tayyab and Mahalanobis, arXiv 1906.04509.
    """
    if not 0 < energy <= 1:
        raise ConfigError(f"found energy={energy!r}; expected a share above 0, up to 1")
    targets = target_modules if isinstance(target_modules, str) else list(target_modules)
    config = LoraConfig(target_modules=targets)
    ranks = {}
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if not isinstance(weight, torch.Tensor) or weight.dim() not in (2, 4):
            continue
        if check_target_module_exists(config, name):
            ranks[name] = _rank(weight.detach(), energy)
    if not ranks:
        raise TargetError(f"found no layer with a matrix or a kernel called {targets!r} in the model")
    (r, _), *_ = Counter(ranks.values()).most_common(1)
    pattern = by_pattern({name: rank for name, rank in ranks.items() if rank != r}, ranks)
    return {
        "target_modules": targets,
        "r": r,
        "lora_alpha": r,
        "rank_pattern": pattern,
        "alpha_pattern": dict(pattern),
    }


def _rank(weight: torch.Tensor, energy: float) -> int:
    matrix = weight.flatten(1).double()
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    energies = torch.linalg.eigvalsh(gram).flip(0).clamp(min=0)
    held = energies.cumsum(0)
    return int((held < energy * held[-1] * (1 - 1e-12)).sum()) + 1
