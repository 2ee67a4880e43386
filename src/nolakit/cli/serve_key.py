"""`nolakit serve-key`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from nolakit.cli.options import AsJson
from nolakit.cli.output import note, print_json
from nolakit.cli.serve import missing

EXAMPLE = "Example: nolakit serve-key reviews --adapter 'team/*' --limits 60/minute >> keys.toml"


def command(
    name: Annotated[str, typer.Argument(help="What people call the key.")],
    adapters: Annotated[
        list[str] | None,
        typer.Option("--adapter", help="Glob of names it may use; may be given again. Default: all."),
    ] = None,
    limits: Annotated[str | None, typer.Option(help="Requests, such as '60/minute; 1000/day'.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="May add, retire and tag adapters.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make an API key: its row for `nolakit serve --keys` on stdout, the key itself once on stderr."""
    try:
        from nolakit.http.keys import Key, hash_key, new_key, read_limits
    except ModuleNotFoundError as error:
        raise missing(error) from error

    key = new_key()
    made = Key(name, hash_key(key), tuple(adapters or ["*"]), read_limits(limits, f"key {name!r}"), admin)
    if as_json:
        row = {
            "name": made.name,
            "sha256": made.sha256,
            "adapters": [*made.adapters],
            "limits": limits,
            "admin": admin,
        }
        print_json({"key": key, "row": row})
        return
    note(f"the key, shown only now: {key}")
    lines = {"name": name, "sha256": made.sha256, "adapters": [*made.adapters]}
    lines |= {"limits": limits} if limits else {}
    typer.echo("[[keys]]")
    for field, value in {**lines, "admin": admin}.items():
        typer.echo(f"{field} = {json.dumps(value, ensure_ascii=False)}")
    typer.echo()
