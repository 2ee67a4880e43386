"""Train one method and test it, as a user of nolakit would: `train`, then `evaluate` on the saved folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from progress import StepBar, bar
from task import Method, settings

from nolakit.tasks import evaluate, train


@dataclass(frozen=True)
class Row:
    """What one run came to.

    trained, trained_head: numbers of the method, and of the head, which every method trains as well.
    file_bytes: of the adapter's file, head included.
    seconds: of the training.
    """

    title: str
    method: str
    options: dict[str, Any]
    lr: float
    seed: int
    trained: int
    trained_head: int
    file_bytes: int
    validation_accuracy: float
    accuracy: float
    macro_f1: float
    steps: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def run(method: Method, data: dict[str, Path], output: Path, *, seed: int = 0) -> Row:
    """Train a method on the training set and measure it on the test set.

    Args:
        method: with its options and learning rate.
        data: paths of the train, validation and test files.
        output: the adapter's folder.
        seed: see `task.settings`.
    """
    with bar() as progress:
        callbacks = [StepBar(progress, method.title)]
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
