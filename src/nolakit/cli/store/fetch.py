"""`nolakit store fetch`."""

from __future__ import annotations

from typing import Annotated

import typer

from nolakit.cli.options import AsJson, Overwrite
from nolakit.cli.output import print_json
from nolakit.cli.store.options import StoreFile, counted

EXAMPLE = "Example: nolakit store fetch s3://bucket/adapters.nola adapters.nola"


def command(
    url: Annotated[str, typer.Argument(help="A published store: what fsspec reads.")],
    store: StoreFile,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Get a published store. It takes its name when each of its digests has been found right."""
    from nolakit.store.store import Store

    with (
        counted("fetching") as progress,
        Store.fetch(url, store, overwrite=overwrite, progress=progress) as opened,
    ):
        names = len(opened.names())
    if as_json:
        print_json({"path": str(store), "bytes": store.stat().st_size, "names": names})
    else:
        typer.echo(f"fetched {store}, {names:,} names, {store.stat().st_size:,} bytes")
