"""transformers' Trainer, set up: two learning rates, exact metrics, nothing on stdout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import EarlyStoppingCallback

from nolakit.tasks.adapting import Adapted
from nolakit.tasks.metrics import BEST, class_metrics, summarize_classes, summarize_tokens, token_metrics
from nolakit.tasks.reading import Reader
from nolakit.tasks.settings import TrainSettings
from nolakit.tasks.texts import Row


class AdapterTrainer(Trainer):
    """A Trainer whose head has a learning rate of its own."""

    def __init__(self, *args: Any, adapted: Adapted, head_lr: float, **kwargs: Any) -> None:
        self.adapted = adapted
        self.head_lr = head_lr
        super().__init__(*args, **kwargs)
        self.remove_callback(PrinterCallback)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW over the trained parameters, in groups by (head, weight decay)."""
        if self.optimizer is None:
            model = model or self.model
            decayed = set(self.get_decay_parameter_names(model))
            groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    groups.setdefault((self.adapted.is_head(name), name in decayed), []).append(parameter)
            optimizer, options = self.get_optimizer_cls_and_kwargs(self.args, model)
            options.pop("lr", None)
            self.optimizer = optimizer(
                [
                    {
                        "params": parameters,
                        "lr": self.head_lr if head else self.args.learning_rate,
                        "weight_decay": self.args.weight_decay if decays else 0.0,
                    }
                    for (head, decays), parameters in groups.items()
                ],
                **options,
            )
        return self.optimizer


def make_trainer(
    adapted: Adapted,
    reader: Reader,
    settings: TrainSettings,
    folder: str,
    *,
    train_rows: list[Row] | None = None,
    eval_rows: list[Row] | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> AdapterTrainer:
    """A Trainer for a task, to train or to evaluate only.

    Args:
        adapted: the model with its method.
        reader: makes the batches.
        settings: of the run.
        folder: for checkpoints.
        train_rows, eval_rows: encoded rows.
        callbacks: more of them, such as a progress bar.
    """
    watched = list(callbacks)
    if settings.early_stopping and eval_rows and train_rows:
        watched.append(EarlyStoppingCallback(settings.early_stopping))
    return AdapterTrainer(
        adapted.model,
        _arguments(adapted, settings, folder, train_rows, eval_rows),
        adapted=adapted,
        head_lr=settings.head_lr or 0.0,
        train_dataset=train_rows,  # pyright: ignore[reportArgumentType] - a list has what a Dataset needs
        eval_dataset=eval_rows,  # pyright: ignore[reportArgumentType]
        data_collator=reader.collator(),
        compute_metrics=lambda p: (class_metrics if reader.labels else token_metrics)(
            p.predictions, p.label_ids
        ),
        preprocess_logits_for_metrics=summarize_classes if reader.labels else summarize_tokens,
        callbacks=watched,
    )


def final_metrics(trainer: Trainer) -> dict[str, float]:
    """The metrics of the model as it is, on the trainer's evaluation rows; those of the training, where it
    evaluated just these weights."""
    state = trainer.state
    step = state.best_global_step if trainer.args.load_best_model_at_end else state.global_step
    logged = [row for row in state.log_history if row["step"] == step and "eval_loss" in row]
    found = logged[-1] if logged else trainer.evaluate()
    names = ("loss", "accuracy", "macro_f1", "perplexity", "token_accuracy")
    return {name: found[f"eval_{name}"] for name in names if f"eval_{name}" in found}


def has_prompt(model: Any) -> bool:
    """Whether the method is a learned prompt, whose checkpoints the Trainer cannot load back in place."""
    return bool(getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False))


def _arguments(
    adapted: Adapted,
    settings: TrainSettings,
    folder: str,
    train_rows: list[Row] | None,
    eval_rows: list[Row] | None,
) -> TrainingArguments:
    batch = settings.batch_size * settings.accumulate
    steps = settings.max_steps or int(-(-len(train_rows or ()) // batch) * settings.epochs)
    every = settings.eval_every or settings.save_every
    evaluates = bool(eval_rows and train_rows)
    best = evaluates and not has_prompt(adapted.model)
    strategy = "steps" if every else "epoch"
    gpu = torch.accelerator.is_available()
    return TrainingArguments(
        output_dir=folder,
        learning_rate=settings.lr or 0.0,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulate,
        warmup_steps=settings.warmup,
        lr_scheduler_type=settings.schedule,
        weight_decay=settings.weight_decay,
        label_smoothing_factor=settings.label_smoothing,
        eval_strategy=strategy if evaluates else "no",
        eval_steps=every,
        save_strategy=strategy if train_rows else "no",
        save_steps=settings.save_every or every or 500,
        save_total_limit=2,
        load_best_model_at_end=best,
        metric_for_best_model=BEST[settings.task],
        greater_is_better=BEST[settings.task] != "loss",
        bf16=settings.dtype == "bfloat16",
        fp16=settings.dtype == "float16" and gpu,
        use_cpu=not gpu,
        seed=settings.data_seed,
        data_seed=settings.data_seed,
        label_names=["labels"],
        remove_unused_columns=False,
        logging_steps=max(1, steps // 100),
        disable_tqdm=True,
        report_to="none",
        dataloader_pin_memory=gpu,
    )
