"""The shapes of an adapter's factors, stored compactly, so that it expands without its base.

    {"q_proj": {"lora_A": [16, 4096], "lora_B": [4096, 16]}, ...}

A name is the last part of a canonical path where all modules with that last part have the same shapes,
else the whole path. A reader looks for the whole path first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from nolakit.errors import AdapterError
from nolakit.methods.site import ROLES

LARGEST_FACTOR = 1 << 28  # entries: rank 1,024 of 262,144 features
MOST_DIMS = 5  # of a factor: those of a three-dimensional convolution

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
        AdapterError: the module is not described, or not by lists of positive integers of one rank.
    """
    described = stored if isinstance(stored, Mapping) else {}
    roles = described.get(path, described.get(path.rpartition(".")[2]))
    if not isinstance(roles, Mapping) or not all(_is_shape(roles.get(role)) for role in ROLES):
        raise AdapterError(
            f"found no usable shape for module {path!r} in module_shapes (found {repr(roles)[:200]}); expected lists "
            "of positive integers for lora_A and lora_B. Load the adapter over its base and save it again"
        )
    dims = {role: tuple(roles[role]) for role in ROLES}
    if not _one_rank(**dims) or max(map(prod, dims.values())) > LARGEST_FACTOR:
        raise AdapterError(
            f"found no usable shape for module {path!r} in module_shapes (found {dims}); expected (rank, in) and "
            f"(out, rank) of one rank, with at most {LARGEST_FACTOR:,} entries"
        )
    return dims


def _is_shape(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 2 <= len(value) <= MOST_DIMS
        and all(isinstance(size, int) and not isinstance(size, bool) and 0 < size < 1 << 32 for size in value)
    )


def _one_rank(lora_A: Sequence[int], lora_B: Sequence[int]) -> bool:
    """A grouped convolution's lora_B takes a share of lora_A's outputs."""
    shared = lora_A[0] % lora_B[1] == 0 if len(lora_B) > 2 else lora_A[0] == lora_B[1]
    return shared and len(lora_A) == len(lora_B)
