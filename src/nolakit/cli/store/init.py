"""`nolakit store init`."""

from __future__ import annotations

import typer

from nolakit.cli.options import AsJson
from nolakit.cli.output import print_json
from nolakit.cli.store.options import StoreFile

EXAMPLE = "Example: nolakit store init adapters.nola"


def command(store: StoreFile, as_json: AsJson = False) -> None:
    """Make an empty store."""
    from nolakit.store.store import Store

    Store.create(store).close()
    if as_json:
        print_json({"path": str(store), "bytes": store.stat().st_size})
    else:
        typer.echo(f"made {store}")
