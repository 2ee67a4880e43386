"""Progress as rich bars on stderr, or as plain lines where stderr is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from nolakit.cli.output import note, notes

SHOWN = ("loss", "accuracy", "perplexity", "token_accuracy")


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar of pieces of work: what it gives is called with the number done and of all."""
    with _new() as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


class Bars:
    """One bar of the training steps with the newest loss, one of each evaluation, a line when that is done.
    A `nolakit.tasks.reporting.Reporter`."""

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self.steps: TaskID | None = None
        self.batches: TaskID | None = None

    def measured(self, done: int, rows: int) -> None:
        if self.steps is None:
            note(f"calibrating on {rows:,} rows")
            self.steps = self._open().add_task("calibrating", total=rows)
        self._open().update(self.steps, completed=done)
        if done == rows:
            self.end()

    def begin(self, steps: int, done: int) -> None:
        self.steps = self._open().add_task("training", total=steps, completed=done)

    def step(self, done: int) -> None:
        if self.progress is not None and self.steps is not None:
            self.progress.update(self.steps, completed=done)

    def loss(self, value: float) -> None:
        if self.progress is not None and self.steps is not None:
            self.progress.update(self.steps, description=f"training, loss {value:.4f}")

    def batch(self, batches: int | None) -> None:
        if self.batches is None:
            self.batches = self._open().add_task("evaluating", total=batches)
        self._open().advance(self.batches)

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        if self.progress is not None and self.batches is not None:
            self.progress.remove_task(self.batches)
            self.batches = None
        if self.steps is None:  # no training around it
            self.end()
            return
        values = [f"{name} {metrics[name]:.4f}" for name in SHOWN if name in metrics]
        note(f"step {step:,}: {', '.join(values)}")

    def end(self) -> None:
        if self.progress is not None:
            self.progress.stop()
        self.progress = self.steps = None

    def _open(self) -> Progress:
        if self.progress is None:
            self.progress = _new()
            self.progress.start()
        return self.progress


def _new() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=notes,
        disable=not notes.is_terminal,
        transient=True,
    )
