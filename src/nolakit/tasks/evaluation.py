"""Evaluate what was trained: base and adapter loaded again, the same rows read the same way."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from nolakit.errors import ConfigError
from nolakit.tasks.adapting import Adapted
from nolakit.tasks.columns import Columns, find_columns
from nolakit.tasks.data import load_splits
from nolakit.tasks.loading import load_trained
from nolakit.tasks.nearest import nearest
from nolakit.tasks.quiet import quiet
from nolakit.tasks.reading import Reader, load_processor, row_length
from nolakit.tasks.settings import TrainSettings
from nolakit.tasks.training import final_metrics, make_trainer


@dataclass
class EvaluationResult:
    """Metrics of an adapter (see `nolakit.tasks.metrics`) over the rows of a split."""

    metrics: dict[str, float]
    rows: int
    split: str
    task: str
    merged: bool
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def evaluate(
    adapter: str | Path,
    *,
    data: str | Path,
    base: str | Path | None = None,
    merged: bool = False,
    split: str | None = None,
    batch_size: int | None = None,
    dtype: str | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    prompt_column: str | None = None,
    completion_column: str | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> EvaluationResult:
    """Evaluate an adapter folder, or a whole model that nolakit trained or merged.

    Args:
        adapter: the folder.
        data: as `TrainSettings.data`.
        base: the base model; None is where it was in training.
        merged: merge the adapter into the base's weights first.
        split: of the data; None takes "test", "validation" or the only one.
        batch_size, dtype: None is as in training.
        text_column, label_column, prompt_column, completion_column: None is as in training.
        callbacks: the Trainer's, such as a progress bar.

    Raises:
        AdapterError, DataError, ModelError: what cannot be read.
        BaseMismatchError: the adapter was made for another base.
    """
    named = Columns(text_column, label_column, prompt_column, completion_column)
    with quiet():
        splits = load_splits(str(data))
        chosen = _choose_split(split, list(splits))
        trained = load_trained(adapter, base=base, merged=merged, dtype=dtype)
        record = trained.record
        processor = load_processor(record.task, trained.base)
        known = Columns(**record.columns) if not any(asdict(named).values()) else named
        reader = Reader(
            task=record.task,
            columns=find_columns(known, record.task, splits[chosen].column_names),
            labels=record.labels,
            processor=processor,
            max_length=row_length(processor, trained.model.config, record.max_length),
            separator=record.settings.get("separator", "\n"),
        )
        encoded = reader.encode(splits[chosen])
        settings = TrainSettings.from_dict({"data": str(data), "output": "", **record.settings})
        settings.batch_size = batch_size or settings.batch_size
        settings.dtype = trained.dtype
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            trainer = make_trainer(
                Adapted(trained.model, []),
                reader,
                settings,
                folder,
                eval_rows=encoded.rows,
                callbacks=callbacks,
            )
            metrics = final_metrics(trainer)
    seconds = time.perf_counter() - start
    return EvaluationResult(metrics, len(splits[chosen]), chosen, record.task, merged, round(seconds, 3))


def _choose_split(wanted: str | None, present: list[str]) -> str:
    if wanted is not None and wanted not in present:
        raise ConfigError(f"found no split {wanted!r}; {nearest(wanted, present)}")
    return wanted or next((name for name in ("test", "validation") if name in present), present[0])
