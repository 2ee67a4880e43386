"""The rank and the lora_alpha of a configuration, which scale an update: numbers that every reader can take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nolakit.errors import AdapterError

LARGEST_RANK = (1 << 32) - 1
LARGEST_ALPHA = 3.4e38  # float32


def check_rank_and_alpha(config: Mapping[str, Any], name: str) -> None:
    """Raises AdapterError for an `r` that is no rank, or a `lora_alpha` that float32 cannot hold.

    Args:
        name: of the adapter, for messages.
    """
    rank = config.get("r")
    if type(rank) is not int or not 1 <= rank <= LARGEST_RANK:
        raise AdapterError(f"found r={repr(rank)[:80]} in {name!r}; expected an integer of at least 1")
    check_alpha(config.get("lora_alpha"), f"in {name!r}")


def check_alpha(alpha: Any, where: str) -> None:
    """Raises AdapterError for what float32 cannot hold."""
    if type(alpha) not in (int, float) or not abs(alpha) <= LARGEST_ALPHA:
        raise AdapterError(
            f"found lora_alpha {repr(alpha)[:80]} {where}; expected a number that float32 can hold"
        )
