"""Train one method and test it, as a user of nolakit would: `train`, then `evaluate` on the saved folder."""

from __future__ import annotations

from pathlib import Path

from progress import StepBar, bar
from row import Row
from task import Method, settings

from nolakit.tasks import evaluate, train
from nolakit.tasks.reporting import Reports


def run(method: Method, data: dict[str, Path], output: Path, *, seed: int = 0) -> Row:
    """Train a method on the training set and measure it on the test set.

    Args:
        method: with its options and learning rate.
        data: paths of the train, validation and test files.
        output: the adapter's folder.
        seed: see `task.settings`.
    """
    with bar() as progress:
        callbacks = [Reports(StepBar(progress, method.title))]
        result = train(settings(method, data, output, seed=seed), callbacks=callbacks)
        tested = evaluate(output, data=data["test"], callbacks=callbacks)
    return Row(
        title=method.title,
        method=method.method,
        options=method.options,
        lr=method.lr,
        seed=seed,
        trained=result.trained,
        trained_head=result.trained_head,
        file_bytes=result.adapter_bytes,
        validation_accuracy=round(result.metrics["accuracy"], 6),
        accuracy=round(tested.metrics["accuracy"], 6),
        macro_f1=round(tested.metrics["macro_f1"], 6),
        steps=result.steps,
        seconds=round(result.seconds, 1),
    )
