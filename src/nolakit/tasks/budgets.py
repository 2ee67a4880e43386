"""Where a method's budget follows the gradient: its energy, measured on some of the training data before adapting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from nolakit.adapter.files import CONFIG_NAME, read_config
from nolakit.tasks.reading import Reader
from nolakit.tasks.settings import TrainSettings
from nolakit.tasks.texts import Row
from nolakit.tuner.config import ComputedLoraConfig
from nolakit.tuner.gradient_energy import gradient_energy

Weigh = Callable[[PreTrainedModel, Any], None]


def weigh_on(rows: Sequence[Row], reader: Reader, settings: TrainSettings, checkpoint: str | None) -> Weigh:
    """What gives a configuration the `budget_weights` that its `budget_by` asks for, of a base model.

    Args:
        rows: of the training data; the first `calibration_rows` are measured, in batches of training's size.
        checkpoint: of the run that is resumed, whose configuration has what was measured.
    """

    def weigh(base: PreTrainedModel, config: Any) -> None:
        if (
            not isinstance(config, ComputedLoraConfig)
            or config.budget_by != "gradient"
            or config.budget_weights
        ):
            return
        if checkpoint is not None:
            config.budget_weights = read_config(Path(checkpoint) / CONFIG_NAME).get("budget_weights")
            return
        if torch.accelerator.is_available() and settings.quantize is None:
            base.to(torch.accelerator.current_accelerator())  # pyright: ignore[reportArgumentType] - where the Trainer would put it later
        collate, size = reader.collator(), settings.batch_size

        def batches() -> Iterator[dict[str, Any]]:
            chosen = rows[: settings.calibration_rows]
            for start in range(0, len(chosen), size):
                yield collate(list(chosen[start : start + size]))

        config.budget_weights = gradient_energy(base, batches(), config.target_modules)

    return weigh
