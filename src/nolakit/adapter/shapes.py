"""The shapes of an adapter's factors, stored compactly, so that it expands without its base.

    {"q_proj": {"lora_A": [16, 4096], "lora_B": [4096, 16]}, ...}

A name is the last part of a canonical path where all modules with that last part have the same shapes,
else the whole path. A reader looks for the whole path first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nolakit.errors import AdapterError
from nolakit.methods.base import ROLES

ModuleDims = dict[str, tuple[int, ...]]  # role -> dims


def compact_shapes(dims: Mapping[str, ModuleDims]) -> dict[str, dict[str, list[int]]]:
    """The stored form of shapes by canonical path."""
    by_last: dict[str, list[ModuleDims]] = {}
    for path, roles in dims.items():
        by_last.setdefault(path.rpartition(".")[2], []).append(roles)
    return {
        last if all(other == by_last[last][0] for other in by_last[last]) else path: {
            role: list(roles[role]) for role in ROLES
        }
        for path, roles in sorted(dims.items())
        for last in [path.rpartition(".")[2]]
    }


def shapes_of(path: str, stored: Any) -> ModuleDims:
    """Shapes of the module at a canonical path, from the stored form.

    Raises:
        AdapterError: the module is not described, or not by lists of positive integers.
    """
    described = stored if isinstance(stored, Mapping) else {}
    roles = described.get(path, described.get(path.rpartition(".")[2]))
    if not isinstance(roles, Mapping) or not all(_is_shape(roles.get(role)) for role in ROLES):
        raise AdapterError(
            f"found no usable shape for module {path!r} in module_shapes (found {roles!r}); expected lists of "
            "positive integers for lora_A and lora_B. Load the adapter over its base and save it again"
        )
    return {role: tuple(roles[role]) for role in ROLES}


def _is_shape(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) >= 2
        and all(isinstance(size, int) and not isinstance(size, bool) and 0 < size < 1 << 32 for size in value)
    )
