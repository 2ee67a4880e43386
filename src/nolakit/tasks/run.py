"""Train an adapter, from a data set to a folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import TrainerCallback, set_seed

from nolakit.adapter.writing import new_folder
from nolakit.tasks.adapting import Adapted, adapt
from nolakit.tasks.budgets import Weigh, weigh_on
from nolakit.tasks.calibrating import calibrate_on
from nolakit.tasks.checkpoints import Checkpoints
from nolakit.tasks.columns import find_columns
from nolakit.tasks.configurations import BASELINES, build_config, refuse_options
from nolakit.tasks.data import load_splits
from nolakit.tasks.labels import label_names, label_texts
from nolakit.tasks.models import check_model_path, check_token_ids, load_model, load_model_config
from nolakit.tasks.quiet import quiet
from nolakit.tasks.reading import Reader, load_processor, row_length
from nolakit.tasks.record import Record, versions
from nolakit.tasks.settings import TrainSettings
from nolakit.tasks.training import final_metrics, make_trainer

WEIGHTS = ("adapter_model.safetensors", "model.safetensors")


@dataclass
class TrainResult:
    """What a training came to.

    metrics: on the evaluation data (see `nolakit.tasks.metrics`) and `train_loss`, the mean over the run.
    trained, trained_head: trained numbers of the method, and of a new head beside it.
    adapter_bytes: of the file of weights, head included.
    seconds: of the training, calibration and evaluations included, loading left out.
    output: the folder.
    steps, best_step: optimizer steps, and at which the kept weights were taken.
    truncated: rows that lost tokens to max_length.
    history: the Trainer's evaluations, in order.
    """

    metrics: dict[str, float]
    trained: int
    trained_head: int
    adapter_bytes: int
    seconds: float
    output: str
    steps: int
    best_step: int | None
    truncated: int
    history: list[dict[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def train(settings: TrainSettings, *, callbacks: Sequence[TrainerCallback] = ()) -> TrainResult:
    """Train what the settings say and write it to `settings.output`.

    The folder holds a PEFT adapter as `save_pretrained` writes it (a whole model for the method "full") and
    `training.json`. It appears whole or not at all; checkpoints are beside it while the run lasts. Seeds
    torch's global generator, as transformers' Trainer does.

    Args:
        settings: everything about the run.
        callbacks: the Trainer's, such as a progress bar.

    Raises:
        OutputExistsError: the output is there, and neither overwrite nor resume is set.
        DataError, ModelError, TargetError, ConfigError, UnsupportedError: what cannot be trained, before
            training starts.
    """
    settings = settings.with_learning_rates()
    checkpoints = Checkpoints(settings)
    finished = checkpoints.finished()
    if finished is not None:
        return _result(finished, settings.output)
    _check_method(settings)
    with quiet():
        check_model_path(settings.model)
        train_data, eval_data = _load_data(settings)
        reader = _make_reader(settings, train_data)
        encoded = reader.encode(train_data)
        eval_encoded = reader.encode(eval_data) if eval_data is not None else None
        check_token_ids(encoded.rows, load_model_config(settings.model), settings.model)
        last = checkpoints.last() if settings.resume else None
        adapted = _load_adapted(settings, reader, weigh_on(encoded.rows, reader, settings, last))
        truncated = encoded.truncated + (eval_encoded.truncated if eval_encoded else 0)
        resume_from = checkpoints.open()
        failed = True
        try:
            trainer = make_trainer(
                adapted,
                reader,
                settings,
                str(checkpoints.folder),
                train_rows=encoded.rows,
                eval_rows=eval_encoded.rows if eval_encoded else None,
                callbacks=callbacks,
            )
            start = time.perf_counter()
            if resume_from is None:  # a checkpoint holds what was measured
                calibrate_on(trainer, reader, encoded.rows, settings.calibration_rows, callbacks)
            output = trainer.train(resume_from_checkpoint=resume_from)
            seconds = time.perf_counter() - start
            metrics = final_metrics(trainer) if eval_encoded else {}
            trained, trained_head = adapted.trained()
            record = Record(
                settings=settings.to_dict(),
                columns=reader.columns.to_dict(),
                labels=reader.labels,
                max_length=reader.max_length,
                metrics={**metrics, "train_loss": output.training_loss},
                trained=trained,
                trained_head=trained_head,
                seconds=round(seconds, 3),
                steps=trainer.state.global_step,
                best_step=trainer.state.best_global_step if trainer.args.load_best_model_at_end else None,
                history=[row for row in trainer.state.log_history if "eval_loss" in row],
                versions=versions(),
            )
            if trainer.is_world_process_zero():
                with new_folder(settings.output, overwrite=settings.overwrite or settings.resume) as fresh:
                    adapted.model.save_pretrained(fresh)
                    if settings.method == "full":
                        reader.processor.save_pretrained(fresh)
                    record.write(fresh)
            failed = False
        finally:
            checkpoints.close(failed=failed)
    return _result(record, settings.output, truncated)


def _check_method(settings: TrainSettings) -> None:
    """Whatever is wrong with method and options, before anything is loaded."""
    if settings.method not in BASELINES:
        build_config(
            settings.method, settings.options, task=settings.task, heads=["head"] * settings.classifies
        )
    else:
        refuse_options(settings.method, settings.options)


def _load_data(settings: TrainSettings) -> tuple[Dataset, Dataset | None]:
    splits = load_splits(settings.data, text_unit=settings.text_unit)
    train_data = splits.get("train") or next(iter(splits.values()))
    if settings.eval_data:
        others = load_splits(settings.eval_data, text_unit=settings.text_unit)
        return train_data, next(
            (others[name] for name in ("validation", "test") if name in others), None
        ) or next(iter(others.values()))
    if "validation" in splits:
        return train_data, splits["validation"]
    if settings.eval_fraction == 0:
        return train_data, None
    cut = train_data.train_test_split(test_size=settings.eval_fraction, seed=settings.data_seed)
    return cut["train"], cut["test"]


def _make_reader(settings: TrainSettings, data: Dataset) -> Reader:
    columns = find_columns(settings, settings.task, data.column_names)
    labels = label_names(label_texts(data, columns.label_column)) if columns.label_column else None
    processor = load_processor(settings.task, settings.model)
    length = row_length(processor, load_model_config(settings.model), settings.max_length)
    return Reader(settings.task, columns, labels, processor, length, settings.separator)


def _load_adapted(settings: TrainSettings, reader: Reader, weigh: Weigh) -> Adapted:
    set_seed(settings.data_seed)  # a new head, and methods that draw their start
    base = load_model(
        settings.task, settings.model, labels=reader.labels, dtype=settings.dtype, quantize=settings.quantize
    )
    if settings.task == "text-classification":
        base.config.pad_token_id = reader.processor.pad_token_id
    return adapt(
        base,
        settings.method,
        settings.options,
        task=settings.task,
        quantized=bool(settings.quantize),
        weigh=weigh,
    )


def _result(record: Record, output: str, truncated: int = 0) -> TrainResult:
    sizes = [(Path(output) / name).stat().st_size for name in WEIGHTS if (Path(output) / name).is_file()]
    return TrainResult(
        metrics=record.metrics,
        trained=record.trained,
        trained_head=record.trained_head,
        adapter_bytes=sum(sizes),
        seconds=record.seconds,
        output=output,
        steps=record.steps,
        best_step=record.best_step,
        truncated=truncated,
        history=record.history,
    )
