"""The subcommands of `nolakit store`."""

from __future__ import annotations

import typer

from nolakit.cli.store import (
    add,
    exporting,
    fetch,
    gc,
    get,
    importing,
    init,
    ls,
    publish,
    rm,
    stats,
    tag,
    verify,
)

app = typer.Typer(
    help="Adapters under names, versions and tags in one SQLite file. An adapter is `name` (its newest version), "
    "`name@3`, `name:tag` or `sha256:DIGEST`; where several are meant, also a glob of names.",
    epilog="Example: nolakit store ls adapters.nola",
    no_args_is_help=True,
)

for name, module in {
    "init": init, "add": add, "import": importing, "ls": ls, "get": get, "export": exporting, "tag": tag, "rm": rm,
    "gc": gc, "verify": verify, "stats": stats, "publish": publish, "fetch": fetch,
}.items():  # fmt: skip
    app.command(name, epilog=module.EXAMPLE)(module.command)
