"""The portable basis: frozen random numbers that a seed regenerates, bit for bit, on every machine.

`combine` sums basis vectors, `project` is its adjoint, `vector` is one of them, `combine_integers` sums with small
integers exactly, `balanced_indices` shuffles, `stream_number` names a factor's part of the generator. The specification
is `docs/format.md`.
Imports nothing of nolakit but its errors; torch is loaded with the first operation.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nolakit.basis.streams import stream_number

if TYPE_CHECKING:
    from nolakit.basis.backends import use_backend
    from nolakit.basis.balanced import balanced_indices
    from nolakit.basis.integers import Integers, combine_integers
    from nolakit.basis.operations import combine, project, vector

__all__ = [
    "Integers", "balanced_indices", "combine", "combine_integers", "project", "stream_number", "use_backend", "vector",
]  # fmt: skip

_LAZY = {
    "Integers": "integers",
    "balanced_indices": "balanced",
    "combine": "operations",
    "combine_integers": "integers",
    "project": "operations",
    "use_backend": "backends",
    "vector": "operations",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'nolakit.basis' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"nolakit.basis.{_LAZY[name]}"), name)
