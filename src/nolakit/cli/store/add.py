"""`nolakit store add`."""

from __future__ import annotations

from typing import Annotated

import typer

from nolakit.cli.options import Adapter, AsJson
from nolakit.cli.output import print_json
from nolakit.cli.store.options import Bits, StoreFile, Tags

EXAMPLE = "Example: nolakit store add adapters.nola reviews-adapter --name team/reviews --bits 8 --tag best"


def command(
    store: StoreFile,
    adapter: Adapter,
    name: Annotated[str | None, typer.Option(help="Default: the folder's or the file's.")] = None,
    bits: Bits = None,
    tags: Tags = None,
    as_json: AsJson = False,
) -> None:
    """Add an adapter as the newest version of a name; nothing happens where that has this content already."""
    from nolakit.store.importing import name_of
    from nolakit.store.store import Store

    with Store(store) as opened:
        entry = opened.add(name or name_of(adapter), adapter, bits=bits, tags=tags or ())
    if as_json:
        print_json(entry.to_dict())
    else:
        typer.echo(f"{entry.ref}  {entry.size:,} bytes  sha256:{entry.digest}")
