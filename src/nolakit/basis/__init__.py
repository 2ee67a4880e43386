"""The portable basis: frozen random numbers that a seed regenerates, bit for bit, on every machine.

`combine` sums basis vectors, `project` is its adjoint, `vector` is one of them, `stream_number` names a
factor's part of the generator. The specification is `docs/format.md`. Imports nothing of nolakit but its
errors; torch is loaded with the first operation.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nolakit.basis.streams import stream_number

if TYPE_CHECKING:
    from nolakit.basis.backends import use_backend
    from nolakit.basis.operations import combine, project, vector

__all__ = ["combine", "project", "stream_number", "use_backend", "vector"]

_LAZY = {"combine": "operations", "project": "operations", "vector": "operations", "use_backend": "backends"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'nolakit.basis' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"nolakit.basis.{_LAZY[name]}"), name)
