"""What `nolakit serve` serves: a base, its tokenizer and a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nolakit.errors import ConfigError
from nolakit.http.metrics import Metrics
from nolakit.http.served import TASKS, Served
from nolakit.serve.encoders import Encoder
from nolakit.serve.engine import Engine
from nolakit.store.store import Store
from nolakit.tasks.models import load_model, load_tokenizer
from nolakit.tasks.quiet import quiet
from nolakit.tasks.settings import QUANTIZATIONS

MOST_CHOICES = 128


@dataclass(frozen=True)
class Options:
    """As `nolakit.serve.Engine`; model, dtype and quantize as `nolakit.tasks.models.load_model`.

    name: what requests call the base; None is `model`, of a folder its last part.
    pins: adapters that stay in a slot.
    """

    model: str
    store: Path
    task: str = "causal-lm"
    name: str | None = None
    dtype: str = "float32"
    quantize: str | None = None
    slots: int = 16
    max_batch: int = 16
    max_queue: int = 256
    max_length: int | None = None
    max_rank: int = 64
    pins: tuple[str, ...] = ()


@contextmanager
def serving(options: Options) -> Iterator[tuple[Served, Metrics]]:
    """A base ready to be served, on the GPU where there is one; everything is closed behind the block.

    Raises:
        ConfigError: an option out of its range. ModelError: no such model. StoreError: no such store.
        EntryNotFoundError, AdapterError, UnsupportedError, BaseMismatchError: an adapter that cannot be pinned.
    """
    if options.task not in TASKS:
        raise ConfigError(f"found task {options.task!r}; expected one of {', '.join(TASKS)}")
    if options.quantize is not None and options.quantize not in QUANTIZATIONS:
        raise ConfigError(f"found quantize={options.quantize!r}; expected one of {', '.join(QUANTIZATIONS)}")
    with Store(options.store) as store:
        with quiet():
            tokenizer = load_tokenizer(options.model)
            model = _model(options)
        metrics = Metrics()
        sizes = {
            name: getattr(options, name)
            for name in ("slots", "max_batch", "max_queue", "max_length", "max_rank")
        }
        make: Any = Engine if options.task == "causal-lm" else Encoder
        runner = make(model, store, observer=metrics, **sizes)
        labels = [*(getattr(model.config, "id2label", None) or {}).values()]
        served = Served(
            options.name or _name(options.model), options.task, runner, tokenizer,  # pyright: ignore[reportArgumentType]
            labels=labels, most_choices=min(MOST_CHOICES, options.max_queue),
        )  # fmt: skip
        try:
            for ref in options.pins:
                runner.pin(ref)
            yield served, metrics
        finally:
            runner.close()
            served.close()


def _model(options: Options) -> Any:
    model: Any = load_model(
        options.task, options.model, labels=None, dtype=options.dtype, quantize=options.quantize
    )
    if options.quantize is None and torch.cuda.is_available():
        model = model.to("cuda")
    return model.eval()


def _name(model: str) -> str:
    """A hub id as it is; a folder's last part, since requests are told no paths."""
    return Path(model).resolve().name if Path(model).is_dir() else model
