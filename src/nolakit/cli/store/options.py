"""Options that several subcommands of `nolakit store` share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from nolakit.cli.output import notes

StoreFile = Annotated[Path, typer.Argument(metavar="STORE", help="The store's file.")]
Ref = Annotated[str, typer.Argument(help="name, name@3, name:tag or sha256:DIGEST.")]
Bits = Annotated[
    int | None,
    typer.Option(help="Pack with 32, 16, 8 or 4; default: packed files as they are, folders without loss."),
]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="A tag for this version; may be given again.")]


@contextmanager
def counted(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, where that is a terminal, that is told what is done and all there is."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%")
    with Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=notes, disable=not notes.is_terminal,
        transient=True,
    ) as progress:  # fmt: skip
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
