"""Results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

results = Console(highlight=False, soft_wrap=True)
notes = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(values: Any) -> None:
    """Plain JSON on stdout, numbers that are not finite as null."""
    typer.echo(json.dumps(_finite(values), indent=2, ensure_ascii=False))


def note(text: str) -> None:
    """A line on stderr."""
    notes.print(escape(text), style="dim")


def complain(text: str) -> None:
    """An error on stderr."""
    notes.print(f"[bold red]error:[/] {escape(text)}")


def print_facts(title: str, facts: dict[str, Any]) -> None:
    """A two-column table on stdout, without what is None."""
    table = Table(
        title=title, title_justify="left", title_style="bold", show_header=False, box=None, pad_edge=False
    )
    table.add_column(style="cyan")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value is not None:
            table.add_row(name, escape(number(value)))
    results.print(table)


def print_rows(columns: list[str], rows: list[list[Any]]) -> None:
    """A table on stdout; columns of numbers are aligned on the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(columns):
        numeric = all(isinstance(row[index], int | float | None) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else escape(number(value)) for value in row))
    results.print(table)


def number(value: Any) -> str:
    """1234567 as 1,234,567; 0.123456 as 0.1235."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _finite(values: Any) -> Any:
    if isinstance(values, dict):
        return {str(key): _finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    if isinstance(values, float) and (values != values or values in (float("inf"), float("-inf"))):
        return None
    return values
