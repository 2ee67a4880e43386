"""`nolakit store publish`."""

from __future__ import annotations

from typing import Annotated

import typer

from nolakit.cli.options import AsJson, Overwrite
from nolakit.cli.output import print_json
from nolakit.cli.store.options import StoreFile, counted

EXAMPLE = "Example: nolakit store publish adapters.nola s3://bucket/adapters.nola"


def command(
    store: StoreFile,
    url: Annotated[
        str, typer.Argument(help="Where to: s3://, gs://, hf://, sftp://, ...; what fsspec writes.")
    ],
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Put the store, as it is at one moment, into object storage or a hub. It appears there whole or not at all."""
    from nolakit.store.store import Store

    with Store(store, read_only=True) as opened, counted("publishing") as progress:
        size = opened.publish(url, overwrite=overwrite, progress=progress)
    if as_json:
        print_json({"url": url, "bytes": size})
    else:
        typer.echo(f"published {url}, {size:,} bytes")
