"""The comparison as a table, for the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from row import Row


def table(rows: Iterable[Row]) -> Table:
    """One line for each method."""
    made = Table(title="Which part of the standard library is this docstring from?", title_justify="left")
    made.add_column("method", no_wrap=True)
    for name in ("accuracy", "macro F1", "trained", "+ head", "file bytes", "seconds"):
        made.add_column(name, justify="right")
    for row in rows:
        made.add_row(
            row.title,
            f"{row.accuracy:.1%}",
            f"{row.macro_f1:.3f}",
            f"{row.trained:,}",
            f"{row.trained_head:,}",
            f"{row.file_bytes:,}",
            f"{row.seconds:.0f}",
        )
    return made
