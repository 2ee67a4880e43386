"""How far a run is, told to somebody who shows it."""

from __future__ import annotations

from typing import Protocol

from transformers import TrainerCallback


class Reporter(Protocol):
    """Who shows it. Steps are optimizer steps, batches are of one evaluation."""

    def measured(self, done: int, rows: int) -> None:
        """The method has been calibrated on `done` of so many rows, before training starts."""

    def begin(self, steps: int, done: int) -> None:
        """Training starts, at step `done` where it is resumed."""

    def step(self, done: int) -> None:
        """So many steps are done."""

    def loss(self, value: float) -> None:
        """The newest training loss."""

    def batch(self, batches: int | None) -> None:
        """Another batch of an evaluation of so many is done."""

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        """An evaluation is done."""

    def end(self) -> None:
        """Training is done."""


class Reports(TrainerCallback):
    """The Trainer's callback that tells a reporter."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        self.reporter.begin(state.max_steps, state.global_step)

    def on_step_end(self, args, state, control, **kwargs) -> None:
        self.reporter.step(state.global_step)

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        if logs and "loss" in logs:
            self.reporter.loss(float(logs["loss"]))

    def on_prediction_step(self, args, state, control, eval_dataloader=None, **kwargs) -> None:
        self.reporter.batch(None if eval_dataloader is None else len(eval_dataloader))

    def on_evaluate(self, args, state, control, metrics=None, **kwargs) -> None:
        found = {key.removeprefix("eval_"): value for key, value in (metrics or {}).items()}
        self.reporter.evaluated(state.global_step, found)

    def on_train_end(self, args, state, control, **kwargs) -> None:
        self.reporter.end()
