"""`nolakit store ls`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from nolakit.cli.options import AsJson
from nolakit.cli.store.options import StoreFile

EXAMPLE = "Example: nolakit store ls adapters.nola 'team/*' --base meta-llama/Llama-2-7b-hf --json"
COLUMNS = ("name", "version", "bytes", "bits", "method", "created", "digest", "base", "tags")


def command(
    store: StoreFile,
    patterns: Annotated[list[str] | None, typer.Argument(help="Names or globs; default all.")] = None,
    base: Annotated[
        str | None, typer.Option(help="Only of this base: its name, or its fingerprint's structure.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="Only of this method.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every version, not only the newest.")] = False,
    as_json: AsJson = False,
) -> None:
    """List adapters."""
    from nolakit.store.store import Store

    with Store(store, read_only=True) as opened:
        entries = [
            entry
            for entry in opened.entries(*(patterns or ()), every=every)
            if base in (None, entry.base, entry.base_model) and method in (None, entry.method)
        ]
    # Neither rich nor an indented encoder: ten thousand lines would take them seconds.
    if as_json:
        rows = ",\n".join(json.dumps(entry.to_dict(), ensure_ascii=False) for entry in entries)
        typer.echo(f"[{rows}]")
        return
    lines = [
        (
            entry.name, str(entry.version), f"{entry.size:,}", str(entry.bits), entry.method,
            datetime.fromtimestamp(entry.created, UTC).strftime("%Y-%m-%d %H:%M"), entry.digest[:12],
            entry.base_model or "", " ".join(entry.tags),
        )
        for entry in entries
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(COLUMNS, *lines, strict=True)]
    right = {"version", "bytes", "bits"}
    template = "  ".join(
        f"{{:{'>' if name in right else '<'}{width}}}" for name, width in zip(COLUMNS, widths, strict=True)
    )
    typer.echo("\n".join(template.format(*line).rstrip() for line in [COLUMNS, *lines]))
