"""`nolakit store tag`."""

from __future__ import annotations

from typing import Annotated

import typer

from nolakit.cli.store.options import Ref, StoreFile

EXAMPLE = "Example: nolakit store tag adapters.nola team/reviews@2 best"


def command(
    store: StoreFile,
    ref: Ref,
    tag: Annotated[str, typer.Argument(help="A word for this version; it may mean another later.")],
    remove: Annotated[bool, typer.Option("--remove", help="Remove the tag of that name instead.")] = False,
) -> None:
    """Have a tag mean a version, or remove the tag."""
    from nolakit.store.names import parse_ref
    from nolakit.store.store import Store

    with Store(store) as opened:
        if remove:
            opened.untag(f"{parse_ref(ref).name}:{tag}")
        else:
            opened.tag(ref, tag)
