"""A progress bar over transformers' Trainer."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback


def bar() -> Progress:
    """A bar on stderr that vanishes when it is done; none where stderr is not a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


class StepBar(TrainerCallback):
    """Advances a bar with every optimizer step, and another with every evaluated batch."""

    def __init__(self, progress: Progress, title: str) -> None:
        self.progress = progress
        self.title = title
        self.evaluation: Any = None

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        self.training = self.progress.add_task(f"{self.title}: training", total=state.max_steps)

    def on_step_end(self, args, state, control, **kwargs) -> None:
        self.progress.update(self.training, completed=state.global_step)

    def on_train_end(self, args, state, control, **kwargs) -> None:
        self.progress.remove_task(self.training)

    def on_prediction_step(self, args, state, control, eval_dataloader=None, **kwargs) -> None:
        if self.evaluation is None:
            batches = len(eval_dataloader) if eval_dataloader is not None else None
            self.evaluation = self.progress.add_task(f"{self.title}: evaluation", total=batches)
        self.progress.advance(self.evaluation)

    def on_evaluate(self, args, state, control, **kwargs) -> None:
        if self.evaluation is not None:
            self.progress.remove_task(self.evaluation)
            self.evaluation = None
