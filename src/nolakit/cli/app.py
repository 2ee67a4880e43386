"""`nolakit`: the entry point and its subcommands."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from nolakit import __version__
from nolakit.cli import (
    average,
    count,
    evaluate,
    export,
    generate,
    hook,
    import_official,
    inspect,
    merge,
    pack,
    serve,
    serve_key,
    train,
    unpack,
)
from nolakit.cli.bench import app as bench
from nolakit.cli.failures import exit_code, message
from nolakit.cli.noise import silence
from nolakit.cli.output import complain
from nolakit.cli.store import app as store

HELP = """Fine-tuning whose result is a seed and a few hundred numbers.

Results go to stdout, progress and notes to stderr; --json makes the result pure JSON.

Exit codes: 0 done; 1 unexpected failure; 2 usage (an option, method or target module that there is not);
3 bad input (data, adapter, model or store); 4 the adapter was made for another base; 5 the output exists;
6 the store is busy, full or pinned; 130 interrupted."""
EPILOG = "Example: nolakit train --model gpt2 --data stories.txt -o stories-adapter"


class Commands(TyperGroup):
    """Turns what a command raises into a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, Exception) as error:
            if ctx.params.get("debug") or _is_typers_own(error):
                raise
            complain(message(error))
            raise typer.Exit(exit_code(error)) from error


app = typer.Typer(
    cls=Commands,
    help=HELP,
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    add_completion=False,
)


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", is_eager=True)
    ] = False,
) -> None:
    """Options of every subcommand."""
    if version:
        typer.echo(f"nolakit {__version__}")
        raise typer.Exit
    silence()


for module in (
    train,
    evaluate,
    generate,
    inspect,
    count,
    merge,
    export,
    import_official,
    pack,
    unpack,
    average,
    serve,
    serve_key,
):
    name = module.__name__.rpartition(".")[2].replace("_", "-")
    app.command(name, epilog=module.EXAMPLE)(module.command)
app.add_typer(store.app, name="store")
app.add_typer(bench, name="bench")
app.add_typer(hook.app, name="hook")


def main() -> None:
    """The console script."""
    app()


def _is_typers_own(error: BaseException) -> bool:
    """Usage errors, exits and aborts, which Typer prints itself."""
    return type(error).__module__.split(".")[0] in ("typer", "click") or isinstance(error, BrokenPipeError)


if __name__ == "__main__":
    main()
