"""`nolakit store rm`."""

from __future__ import annotations

from typing import Annotated

import typer

from nolakit.cli.options import AsJson
from nolakit.cli.output import print_json
from nolakit.cli.store.options import StoreFile

EXAMPLE = "Example: nolakit store rm adapters.nola team/reviews@1 'old/*'"


def command(
    store: StoreFile,
    refs: Annotated[
        list[str], typer.Argument(help="A version (name@3), a name with all its versions, a glob.")
    ],
    as_json: AsJson = False,
) -> None:
    """Remove names and versions; what a process has pinned is refused. `gc` deletes the content."""
    from nolakit.store.store import Store

    with Store(store) as opened:
        entries = opened.remove(*refs)
    if as_json:
        print_json([entry.ref for entry in entries])
    else:
        typer.echo(f"removed {len(entries):,} versions")
