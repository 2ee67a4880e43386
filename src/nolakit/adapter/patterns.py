"""Keys of rank_pattern and alpha_pattern that match one module and no other.

PEFT matches a key at the end of a module's path, so that `conv1` is also `layer1.0.conv1`, and a file's keys have no
order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

Value = TypeVar("Value")


def by_pattern(values: Mapping[str, Value], paths: Iterable[str]) -> dict[str, Value]:
    """Values by module path, with keys that match none of the other `paths`."""
    every = sorted(paths)
    return {_pattern(path, every): value for path, value in values.items()}


def _pattern(path: str, every: list[str]) -> str:
    others = [other.removesuffix(path) for other in every if other.endswith("." + path)]
    return "".join(f"(?<!{other})" for other in others) + path
