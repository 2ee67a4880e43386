"""Everything that a training run is told."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from nolakit.errors import ConfigError
from nolakit.tasks.learning_rates import head_learning_rate, learning_rate
from nolakit.tasks.nearest import nearest

TASKS = ("causal-lm", "text-classification", "image-classification")
SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup", "polynomial")
DTYPES = ("float32", "bfloat16", "float16")
QUANTIZATIONS = ("8bit", "4bit")
TEXT_UNITS = ("line", "file")
# What a resumed run may change: everything else must be what the interrupted run was told.
FREE_ON_RESUME = frozenset(
    {"output", "epochs", "max_steps", "early_stopping", "overwrite", "resume", "keep_checkpoints"}
)


@dataclass
class TrainSettings:
    """What `nolakit.tasks.train` does.

    Args:
        task: "causal-lm", "text-classification" or "image-classification".
        model: base model, a transformers id or folder.
        data: training data: a JSONL, CSV or text file, a folder of them, an image folder (one sub-folder
            a class), a folder of `datasets.save_to_disk`, or a data set's id. See `nolakit.tasks.data`.
        output: folder for the adapter; appears whole or not at all.
        eval_data: evaluation data, likewise. None takes the data's own validation split, else cuts
            `eval_fraction` off the training data.
        eval_fraction: share of the training data to evaluate on; 0 evaluates nothing.
        method: "nola", any PEFT method's name, "head" (frozen base) or "full" (full fine-tuning).
        options: fields of the method's configuration class, such as r, num_basis, target_modules.
        lr: learning rate; None takes the method's own (`nolakit.tasks.learning_rates`).
        head_lr: learning rate of a new classification head; None takes the same one for all methods.
        epochs, max_steps: how long; max_steps counts optimizer steps and overrides epochs.
        batch_size, accumulate: rows a forward pass, and passes an optimizer step.
        max_length: tokens a row; None takes the model's own limit, at most 512.
        warmup: steps of linear warm-up, or a fraction of all steps if below 1.
        schedule: of the learning rate, after the warm-up.
        weight_decay: of AdamW.
        label_smoothing: share of the target probability spread over all classes or tokens.
        eval_every, save_every: optimizer steps; None is once an epoch. save_every None follows eval_every.
        early_stopping: stop after this many evaluations without a better one; None never.
        calibration_rows: rows of the training data on which a method measures what it needs before it trains;
            only some do (`nolakit.calibrate`), and any with a budget by the gradient (`nolakit.gradient_energy`).
        dtype: of the base, "float32", "bfloat16" or "float16".
        quantize: "8bit" or "4bit" base, by bitsandbytes.
        data_seed: order of the data, cut of eval_fraction, dropout, and a new head's start.
        text_column, label_column, prompt_column, completion_column: None finds them by their usual names.
        separator: put between prompt and completion where the prompt does not end in white space.
        text_unit: a document of a text file is a "line" or the whole "file".
        overwrite: replace an output that is there.
        resume: go on from the checkpoints of an interrupted run; start where there are none.
        keep_checkpoints: keep them when the run is done.

    Raises:
        ConfigError: a value out of its range.
    """

    task: str
    model: str
    data: str
    output: str
    eval_data: str | None = None
    eval_fraction: float = 0.1
    method: str = "nola"
    options: dict[str, Any] = field(default_factory=dict)
    lr: float | None = None
    head_lr: float | None = None
    epochs: float = 3.0
    max_steps: int | None = None
    batch_size: int = 16
    accumulate: int = 1
    max_length: int | None = None
    warmup: float = 0.0
    schedule: str = "linear"
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    eval_every: int | None = None
    save_every: int | None = None
    early_stopping: int | None = None
    calibration_rows: int = 64
    dtype: str = "float32"
    quantize: str | None = None
    data_seed: int = 0
    text_column: str | None = None
    label_column: str | None = None
    prompt_column: str | None = None
    completion_column: str | None = None
    separator: str = "\n"
    text_unit: str = "line"
    overwrite: bool = False
    resume: bool = False
    keep_checkpoints: bool = False

    def __post_init__(self) -> None:
        for name in ("model", "data", "output", "eval_data"):
            if getattr(self, name) is not None:
                setattr(self, name, str(getattr(self, name)))
        _check_choice("task", self.task, TASKS)
        _check_choice("schedule", self.schedule, SCHEDULES)
        _check_choice("dtype", self.dtype, DTYPES)
        _check_choice("text_unit", self.text_unit, TEXT_UNITS)
        if self.quantize is not None:
            _check_choice("quantize", self.quantize, QUANTIZATIONS)
        for name in (
            "batch_size", "accumulate", "max_steps", "eval_every", "save_every", "early_stopping", "calibration_rows",
        ):  # fmt: skip
            _check_number(name, getattr(self, name), least=1)
        _check_number("max_length", self.max_length, least=2)
        for name in ("lr", "head_lr", "epochs", "warmup", "weight_decay", "data_seed"):
            _check_number(name, getattr(self, name), least=0)
        for name in ("eval_fraction", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"found {name}={getattr(self, name)!r}; expected a share from 0 up to 1")
        if self.save_every and self.eval_every and self.save_every % self.eval_every:
            raise ConfigError(
                f"found save_every={self.save_every} and eval_every={self.eval_every}; expected a multiple of "
                "eval_every, so that the best evaluation has its checkpoint"
            )
        if self.method == "full" and self.quantize:
            raise ConfigError(
                f"found quantize={self.quantize!r} with method 'full'; a quantised base stays frozen"
            )

    def with_learning_rates(self) -> TrainSettings:
        """The same, with the method's own learning rates where none are named."""
        return replace(
            self,
            lr=learning_rate(self.method).lr if self.lr is None else self.lr,
            head_lr=head_learning_rate(self.method).lr if self.head_lr is None else self.head_lr,
        )

    @property
    def classifies(self) -> bool:
        """Whether the task has labels."""
        return self.task != "causal-lm"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainSettings:
        """Settings as `to_dict` gave them; names that this version does not know are left out."""
        known = {option.name for option in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(
            f"found {name} {value!r}; expected one of {', '.join(choices)}; {nearest(value, choices)}"
        )


def _check_number(name: str, value: float | None, *, least: int) -> None:
    if value is not None and (isinstance(value, bool) or not value >= least):
        raise ConfigError(f"found {name}={value!r}; expected at least {least}")
