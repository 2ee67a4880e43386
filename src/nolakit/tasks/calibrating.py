"""What a method measures before training, on some of the training data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from transformers import Trainer, TrainerCallback

from nolakit.tasks.reading import Reader
from nolakit.tasks.reporting import Reports
from nolakit.tasks.texts import Row
from nolakit.tuner.calibration import calibrate
from nolakit.tuner.config import ComputedLoraConfig


def calibrate_on(
    trainer: Trainer, reader: Reader, rows: Sequence[Row], count: int, callbacks: Sequence[TrainerCallback]
) -> None:
    """Calibrate the trainer's model where its method asks for it (`nolakit.calibrate`), on `count` rows spread evenly
    over the data, one at a time, so that no padding is measured. Raises as `nolakit.calibrate`."""
    model: Any = trainer.model
    config = getattr(model, "peft_config", {}).get("default")
    if not isinstance(config, ComputedLoraConfig) or config.method().calibration is None:
        return
    chosen = [rows[place * len(rows) // count] for place in range(count)] if count < len(rows) else rows
    reporters = [callback.reporter for callback in callbacks if isinstance(callback, Reports)]
    collate = reader.collator()

    def batches() -> Iterator[dict[str, Any]]:
        for done, row in enumerate(chosen, start=1):
            yield collate([row])
            for reporter in reporters:
                reporter.measured(done, len(chosen))

    with trainer.compute_loss_context_manager():  # the run's autocast
        calibrate(model, batches())
