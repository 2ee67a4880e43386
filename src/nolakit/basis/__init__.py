"""The portable basis: frozen random numbers that a seed regenerates, bit for bit, on every machine.

`combine` sums basis vectors, `project` is its adjoint, `stream_number` names a factor's part of the
generator. The specification is `docs/format.md`. Imports nothing of nolakit but its errors.
"""

from nolakit.basis.backends import use_backend
from nolakit.basis.operations import combine, project
from nolakit.basis.streams import stream_number

__all__ = ["combine", "project", "stream_number", "use_backend"]
