"""The number that multiplies an adapter's update, module by module."""

from __future__ import annotations

import math
import re
from typing import Any

from nolakit.adapter.contents import ModuleInfo
from nolakit.errors import AdapterError


def scaling_of(config: dict[str, Any], module: ModuleInfo) -> float:
    """`W' = W + scaling lora_B lora_A`: scaling = lora_alpha / rank, or lora_alpha / sqrt(rank) with use_rslora.

    The rank is that of the module's own factors; `alpha_pattern` is matched as PEFT does, first match first.

    Raises:
        AdapterError: a configuration without a usable lora_alpha, or a pattern that is no regular expression.
    """
    rank = module.dims["lora_A"][0]
    alpha = config.get("lora_alpha")
    try:
        for pattern, value in (config.get("alpha_pattern") or {}).items():
            if re.match(rf"(.*\.)?({pattern})$", module.path):
                alpha = value
                break
    except (re.error, AttributeError) as error:
        raise AdapterError(
            f"found alpha_pattern {config['alpha_pattern']!r}; expected names or regular expressions with a number each"
        ) from error
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise AdapterError(f"found lora_alpha {alpha!r} for module {module.path!r}; expected a finite number")
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
