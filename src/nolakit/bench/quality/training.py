"""One run: train a candidate on a task with transformers' Trainer, evaluate one split, and say what it came to."""

from __future__ import annotations

import math
import resource
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import torch
from peft.optimizers import create_lorafa_optimizer
from transformers import TrainingArguments, set_seed

import nolakit
from nolakit.bench.quality.candidate import Candidate, trained_numbers
from nolakit.bench.quality.candidates import candidate_named
from nolakit.bench.quality.stored import BITS, repacked, stored_bytes
from nolakit.bench.quality.task import Loaded, Metrics, Places, Row, Size, Task
from nolakit.bench.quality.tasks import task_named
from nolakit.bench.quality.variants import register_variants
from nolakit.errors import NolakitError
from nolakit.tasks.adapting import Adapted
from nolakit.tasks.metrics import class_metrics, summarize_classes, summarize_tokens, token_metrics
from nolakit.tasks.quiet import quiet
from nolakit.tasks.training import AdapterTrainer
from nolakit.tuner.config import ComputedLoraConfig

WARM_UP = 0.06  # of the steps
CALIBRATION = 32  # rows
FEWER_BITS = (8, 4)


@dataclass(frozen=True)
class Job:
    """What one process is asked for. exponent: of the learning rate, in half decades."""

    task: str
    candidate: str
    exponent: int
    seed: int
    split: str
    size: Size
    places: Places
    threads: int = 1

    @property
    def lr(self) -> float:
        """10^(exponent / 2), to three digits."""
        return float(f"{10 ** (self.exponent / 2):.3g}")


def run(job: Job) -> Row:
    """Train and evaluate. What a method refuses is a result too: `refused` says why.

    Raises:
        DataError, ModelError: the task's files are not there.
    """
    torch.set_num_threads(job.threads)
    register_variants()
    task, candidate = task_named(job.task), candidate_named(job.candidate)
    with quiet():
        loaded = task.load(job.places, job.size)
        set_seed(job.seed)
        try:
            adapted = candidate.adapt(task, loaded, job.seed)
        except NolakitError as error:
            return {"refused": str(error)}
        return _measure(job, task, candidate, loaded, adapted)


def _measure(job: Job, task: Task, candidate: Candidate, loaded: Loaded, adapted: Adapted) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(job, task, candidate, loaded, adapted, folder)
        own, head = trained_numbers(adapted)
        start = time.perf_counter()
        _calibrate(adapted, loaded)
        packing = time.perf_counter()
        size = stored_bytes(adapted)  # before training, which may diverge
        start += time.perf_counter() - packing  # which is no part of it
        train_loss = trainer.train().training_loss if own + head else math.nan
        seconds = time.perf_counter() - start
        metrics = evaluate(trainer, loaded, job.split)
        row: Row = {
            "trained": own, "head": head, "bytes": size, "bits": BITS, **metrics,
            "train_loss": _finite(train_loss), "seconds": round(seconds, 2),
        }  # fmt: skip
        if job.split == "test":
            if loaded.score is not None and candidate.group == "core":
                row["texts"] = {
                    name: round(value, 4) for name, value in loaded.score(adapted.model.eval()).items()
                }
            if candidate.packed and row[task.metric] is not None:
                row["packed"] = {
                    str(bits): _packed(trainer, adapted, loaded, bits, task.metric) for bits in FEWER_BITS
                }
    row["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return row


def evaluate(trainer: AdapterTrainer, loaded: Loaded, split: str) -> dict[str, float | None]:
    """The metrics of a split; None where a run diverged."""
    found = trainer.evaluate(loaded.splits[split])  # pyright: ignore[reportArgumentType] - a list has what a Dataset needs
    names = ("loss", "accuracy", "macro_f1", "token_accuracy")
    return {name: _finite(found[f"eval_{name}"]) for name in names if f"eval_{name}" in found}


def _packed(trainer: AdapterTrainer, adapted: Adapted, loaded: Loaded, bits: int, metric: str) -> Metrics:
    model, size = repacked(adapted, loaded, bits)
    trainer.model = trainer.model_wrapped = model  # pyright: ignore[reportAttributeAccessIssue]
    return {"bytes": size, metric: evaluate(trainer, loaded, "test")[metric] or math.nan}


def _trainer(
    job: Job, task: Task, candidate: Candidate, loaded: Loaded, adapted: Adapted, folder: str
) -> AdapterTrainer:
    size, labels = job.size, loaded.classifies
    head_lr = job.lr if candidate.method == "head" else task.head_lr or 0.0
    trainer = AdapterTrainer(
        adapted.model,
        TrainingArguments(
            output_dir=folder, learning_rate=job.lr, max_steps=size.steps, per_device_train_batch_size=size.batch,
            per_device_eval_batch_size=50, warmup_steps=WARM_UP, lr_scheduler_type="linear", seed=job.seed,
            data_seed=job.seed, eval_strategy="no", save_strategy="no", label_names=["labels"],
            remove_unused_columns=False, disable_tqdm=True, report_to="none", logging_strategy="no",
            use_cpu=not torch.accelerator.is_available(), dataloader_pin_memory=torch.accelerator.is_available(),
        ),
        adapted=adapted,
        head_lr=head_lr,
        train_dataset=loaded.splits["train"],  # pyright: ignore[reportArgumentType] - a list has what a Dataset needs
        data_collator=loaded.collate,
        compute_metrics=lambda p: (class_metrics if labels else token_metrics)(p.predictions, p.label_ids),
        preprocess_logits_for_metrics=summarize_classes if labels else summarize_tokens,
    )  # fmt: skip
    if candidate.optimizer == "lora_fa":
        trainer.optimizer = _lora_fa(adapted, candidate, job.lr, head_lr)
    return trainer


def _lora_fa(adapted: Adapted, candidate: Candidate, lr: float, head_lr: float) -> torch.optim.Optimizer:
    """PEFT's optimizer of lora_B, with the head in a group of its own rate."""
    r = candidate.options["r"]
    optimizer = create_lorafa_optimizer(adapted.model, r=r, lora_alpha=candidate.options["lora_alpha"], lr=lr)
    heads = {id(p) for name, p in adapted.model.named_parameters() if adapted.is_head(name)}
    for group in optimizer.param_groups:
        if any(id(parameter) in heads for parameter in group["params"]):
            group["lr"] = head_lr
    return optimizer


def _calibrate(adapted: Adapted, loaded: Loaded) -> None:
    model: Any = adapted.model
    config = getattr(model, "peft_config", {}).get("default")
    if isinstance(config, ComputedLoraConfig) and config.method().calibration is not None:
        rows = loaded.splits["train"][:CALIBRATION]
        nolakit.calibrate(model, [loaded.collate([row]) for row in rows])


def _finite(value: float) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None
