"""`nolakit store import`."""

from __future__ import annotations

from typing import Annotated

import typer

from nolakit.cli.options import AsJson
from nolakit.cli.output import print_json
from nolakit.cli.store.options import Bits, StoreFile, counted

EXAMPLE = "Example: nolakit store import adapters.nola runs/ 'packed/*.safetensors' --prefix team/ --bits 8"


def command(
    store: StoreFile,
    paths: Annotated[
        list[str],
        typer.Argument(help="Adapter folders, packed files, bundles, folders of such at any depth, globs."),
    ],
    prefix: Annotated[str, typer.Option(help="Put before each name.")] = "",
    bits: Bits = None,
    as_json: AsJson = False,
) -> None:
    """Add many adapters, named like their folders and files."""
    from nolakit.store.store import Store

    with Store(store) as opened, counted("importing") as progress:
        entries = opened.import_from(paths, prefix=prefix, bits=bits, progress=progress)
    if as_json:
        print_json([entry.to_dict() for entry in entries])
    else:
        typer.echo(f"{len(entries):,} adapters, {sum(entry.size for entry in entries):,} bytes")
