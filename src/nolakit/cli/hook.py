"""`nolakit hook`: the start-up file that lets programs open nolakit adapters without importing nolakit."""

from __future__ import annotations

import typer

from nolakit.cli.options import AsJson
from nolakit.cli.output import print_json

app = typer.Typer(
    help="Open nolakit adapters in programs that do not import nolakit: a start-up file of this Python environment.",
    epilog="Example: nolakit hook install",
    no_args_is_help=True,
)


@app.command(epilog="Example: nolakit hook install")
def install() -> None:
    """Register nolakit's methods in every Python process of this environment. About 2 ms at each start."""
    from nolakit.startup import install_startup_file

    typer.echo(f"installed {install_startup_file()}")


@app.command(epilog="Example: nolakit hook remove")
def remove() -> None:
    """Undo `install`."""
    from nolakit.startup import remove_startup_file, startup_file

    typer.echo(f"removed {startup_file()}" if remove_startup_file() else "not installed")


@app.command(epilog="Example: nolakit hook status --json")
def status(as_json: AsJson = False) -> None:
    """Whether the start-up file is installed, and where."""
    from nolakit.startup import startup_file

    path = startup_file()
    if as_json:
        print_json({"installed": path.exists(), "path": str(path)})
    else:
        typer.echo(f"installed: {path}" if path.exists() else f"not installed: {path}")
