"""`nolakit store verify`."""

from __future__ import annotations

import typer

from nolakit.cli.failures import ExitCode
from nolakit.cli.options import AsJson
from nolakit.cli.output import print_json
from nolakit.cli.store.options import StoreFile, counted

EXAMPLE = "Example: nolakit store verify adapters.nola --json"


def command(store: StoreFile, as_json: AsJson = False) -> None:
    """Read everything: pages, references, and the digest of each adapter. Exit code 3 where something is damaged."""
    from nolakit.store.store import Store

    with Store(store, read_only=True) as opened, counted("verifying") as progress:
        found = opened.verify(progress=progress)
    if as_json:
        print_json(found.to_dict())
    else:
        for damage in found.damaged:
            typer.echo(f"damaged: {', '.join(damage.names) or damage.digest or store}: {damage.problem}")
        typer.echo(f"{found.blobs:,} adapters read, {len(found.damaged):,} problems")
    if found.damaged:
        raise typer.Exit(ExitCode.BAD_INPUT)
