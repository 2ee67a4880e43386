"""`nolakit store export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nolakit.cli.options import AsJson, Overwrite
from nolakit.cli.output import print_json
from nolakit.cli.store.options import StoreFile, counted

EXAMPLE = "Example: nolakit store export adapters.nola 'team/*' -o team.safetensors"


def command(
    store: StoreFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")],
    refs: Annotated[
        list[str] | None, typer.Argument(help="Adapters, or globs of names; default all names.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write one adapter, or a bundle of many, as one safetensors file that `import` takes back."""
    from nolakit.store.store import Store

    with Store(store, read_only=True) as opened, counted("exporting") as progress:
        entries = opened.export(refs or (), output, overwrite=overwrite, progress=progress)
    size = output.stat().st_size
    if as_json:
        print_json({"output": str(output), "bytes": size, "adapters": [entry.ref for entry in entries]})
    else:
        typer.echo(f"wrote {output}, {len(entries):,} adapters, {size:,} bytes")
