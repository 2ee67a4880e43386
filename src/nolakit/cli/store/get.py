"""`nolakit store get`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nolakit.cli.options import AsJson, Overwrite
from nolakit.cli.output import print_json
from nolakit.cli.store.options import Ref, StoreFile

EXAMPLE = "Example: nolakit store get adapters.nola team/reviews@2 -o reviews.safetensors"


def command(
    store: StoreFile,
    ref: Ref,
    output: Annotated[Path, typer.Option("--output", "-o", help="Packed file to write.")],
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write an adapter as a packed file."""
    from nolakit.adapter.writing import new_file
    from nolakit.store.store import Store

    with Store(store, read_only=True) as opened, new_file(output, overwrite=overwrite) as fresh:
        fresh.write_bytes(opened.read(ref))
    if as_json:
        print_json({"output": str(output), "bytes": output.stat().st_size})
    else:
        typer.echo(f"wrote {output}, {output.stat().st_size:,} bytes")
