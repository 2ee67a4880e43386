"""The number that multiplies an adapter's update, module by module."""

from __future__ import annotations

import math
from typing import Any

import regex

from nolakit.adapter.contents import ModuleInfo
from nolakit.adapter.rank_and_alpha import check_alpha
from nolakit.errors import AdapterError

SECONDS = 0.5  # an expression can be made to take years


def scaling_of(config: dict[str, Any], module: ModuleInfo) -> float:
    """`W' = W + scaling lora_B lora_A`: scaling = lora_alpha / rank, or lora_alpha / sqrt(rank) with use_rslora.

    The rank is that of the module's own factors; `alpha_pattern` is matched as PEFT does, first match first.

    Raises:
        AdapterError: a configuration without a usable lora_alpha, or a pattern that is no regular expression.
    """
    rank = module.dims["lora_A"][0]
    alpha: Any = config.get("lora_alpha")
    try:
        for pattern, value in (config.get("alpha_pattern") or {}).items():
            if regex.match(rf"(.*\.)?({pattern})$", module.path, timeout=SECONDS):
                alpha = value
                break
    except (regex.error, AttributeError, TimeoutError) as error:
        raise AdapterError(
            f"found alpha_pattern {repr(config['alpha_pattern'])[:200]}; expected names or regular expressions with a "
            f"number each, of which none takes {SECONDS} seconds"
        ) from error
    check_alpha(alpha, f"for module {module.path!r}")
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
