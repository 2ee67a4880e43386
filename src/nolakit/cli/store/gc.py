"""`nolakit store gc`."""

from __future__ import annotations

from typing import Annotated

import typer

from nolakit.cli.options import AsJson
from nolakit.cli.output import print_json
from nolakit.cli.store.options import StoreFile, counted

EXAMPLE = "Example: nolakit store gc adapters.nola --compact"


def command(
    store: StoreFile,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    compact: Annotated[
        bool, typer.Option("--compact", help="Give the space back to the disk: writes the whole file anew.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete content that no version and no pin refers to."""
    from nolakit.store.store import Store

    with Store(store) as opened, counted("deleting") as progress:
        found = opened.collect(dry_run=dry_run, compact=compact, progress=progress)
    if as_json:
        print_json(found.to_dict())
    else:
        typer.echo(
            f"{'would delete' if dry_run else 'deleted'} {found.blobs:,} adapters, {found.bytes:,} bytes"
        )
