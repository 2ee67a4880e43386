"""The Trainer's progress as a rich bar on stderr, or as plain lines where stderr is no terminal."""

from __future__ import annotations

from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from transformers import TrainerCallback

from nolakit.cli.output import note, notes

SHOWN = ("loss", "accuracy", "perplexity", "token_accuracy")


class ProgressCallback(TrainerCallback):
    """One bar of the training steps with the newest loss; one of each evaluation; a line when it is done."""

    def __init__(self) -> None:
        self.bars: Progress | None = None
        self.steps: Any = None
        self.rows: Any = None

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        self.steps = self._open().add_task("training", total=state.max_steps, completed=state.global_step)

    def on_step_end(self, args, state, control, **kwargs) -> None:
        if self.bars is not None:
            self.bars.update(self.steps, completed=state.global_step)

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        if self.bars is not None and logs and "loss" in logs and self.steps is not None:
            self.bars.update(self.steps, description=f"training, loss {float(logs['loss']):.4f}")

    def on_prediction_step(self, args, state, control, eval_dataloader=None, **kwargs) -> None:
        if self.rows is None:
            self.rows = self._open().add_task("evaluating", total=len(eval_dataloader or ()))
        if self.bars is not None:
            self.bars.advance(self.rows)

    def on_evaluate(self, args, state, control, metrics=None, **kwargs) -> None:
        if self.bars is not None and self.rows is not None:
            self.bars.remove_task(self.rows)
            self.rows = None
        if self.steps is None:
            self._close()
            return
        found = metrics or {}
        values = [f"{name} {found[f'eval_{name}']:.4f}" for name in SHOWN if f"eval_{name}" in found]
        note(f"step {state.global_step:,}: {', '.join(values)}")

    def on_train_end(self, args, state, control, **kwargs) -> None:
        self._close()
        self.steps = None

    def _open(self) -> Progress:
        if self.bars is None:
            self.bars = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                TimeRemainingColumn(), console=notes, disable=not notes.is_terminal, transient=True,
            )  # fmt: skip
            self.bars.start()
        return self.bars

    def _close(self) -> None:
        if self.bars is not None:
            self.bars.stop()
            self.bars = None
