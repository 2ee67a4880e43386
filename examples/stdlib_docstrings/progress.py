"""A progress bar over a training and its evaluations."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


def bar() -> Progress:
    """A bar on stderr that vanishes when it is done; none where stderr is not a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


class StepBar:
    """Advances a bar with every optimizer step, and another with every evaluated batch.
    A `nolakit.tasks.reporting.Reporter`."""

    def __init__(self, progress: Progress, title: str) -> None:
        self.progress = progress
        self.title = title
        self.evaluation: TaskID | None = None

    def begin(self, steps: int, done: int) -> None:
        self.training = self.progress.add_task(f"{self.title}: training", total=steps, completed=done)

    def step(self, done: int) -> None:
        self.progress.update(self.training, completed=done)

    def loss(self, value: float) -> None:
        self.progress.update(self.training, description=f"{self.title}: training, loss {value:.3f}")

    def batch(self, batches: int | None) -> None:
        if self.evaluation is None:
            self.evaluation = self.progress.add_task(f"{self.title}: evaluation", total=batches)
        self.progress.advance(self.evaluation)

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        if self.evaluation is not None:
            self.progress.remove_task(self.evaluation)
            self.evaluation = None

    def end(self) -> None:
        self.progress.remove_task(self.training)
