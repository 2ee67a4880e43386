"""The tasks, by name. A new one is a row here and a function that reads it."""

from __future__ import annotations

from functools import partial

from nolakit.bench.quality.arrays import cifar100, spoken_digits
from nolakit.bench.quality.language import e2e, p3
from nolakit.bench.quality.sentences import sst2, trec6
from nolakit.bench.quality.task import Size, Task
from nolakit.errors import ConfigError
from nolakit.tasks.nearest import nearest

LLAMA = {
    "all": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "attention": ["q_proj", "k_proj", "v_proj", "o_proj"],
    "query-value": ["q_proj", "v_proj"],
    "mlp": ["gate_proj", "up_proj", "down_proj"],
}
MINILM = {
    "all": ["query", "key", "value", "dense"],
    "attention": ["query", "key", "value", "attention.output.dense"],
    "query-value": ["query", "value"],
    "mlp": r".*layer\.\d+\.(intermediate|output)\.dense",
}
KEYWORDS = {
    "all": ["q", "k", "v", "o", "fc1", "fc2"],
    "attention": ["q", "k", "v", "o"],
    "query-value": ["q", "v"],
    "mlp": ["fc1", "fc2"],
}
CONVOLUTIONS = {"all": r"(layer\d\.\d\.)?conv\d"}

_ROWS = [
    Task(
        "digits-10", "spoken digits, 10-shot", "keyword-transformer-1", "spoken_digits", "accuracy", spoken_digits,
        KEYWORDS, (-5, -4, -3), Size(10, 20, 100, 100, 25), Size(10, 15, 60, 40, 25), head_lr=3e-2,
    ),
    Task(
        "digits-5", "spoken digits, 5-shot", "keyword-transformer-1", "spoken_digits", "accuracy", spoken_digits,
        KEYWORDS, (-5, -4, -3), Size(5, 20, 100, 100, 25), Size(5, 15, 60, 40, 25), head_lr=3e-2,
    ),
    Task(
        "e2e-260k", "E2E, Llama of 260k", "llama-stories-260k", "e2e", "loss", partial(e2e, "llama-stories-260k"),
        LLAMA, (-4, -3, -2), Size(8000, 500, 1000, 1000, 8), Size(512, 150, 300, 64, 8), head_dim=8,
    ),
    Task(
        "e2e-2.4m", "E2E, Llama of 2.4M", "llama-novels", "e2e", "loss", partial(e2e, "llama-novels"),
        LLAMA, (-5, -4, -3), Size(8000, 500, 1000, 1000, 8), Size(384, 100, 200, 48, 8), head_dim=32,
    ),
    Task(
        "p3", "P3, held-out templates, Llama of 2.4M", "llama-novels", "p3", "loss", partial(p3, "llama-novels"),
        LLAMA, (-5, -4, -3), Size(8000, 500, 900, 1000, 8), Size(384, 100, 200, 48, 8), head_dim=32,
    ),
    Task(
        "trec6", "TREC-6", None, "trec6", "accuracy", trec6,
        MINILM, (-5, -4, -3), Size(4452, 500, 500, 840, 16), Size(640, 200, 500, 40, 16), head_lr=1e-2, head_dim=32,
    ),
    Task(
        "sst2", "SST-2", None, "sst2", "accuracy", sst2,
        MINILM, (-5, -4, -3), Size(5920, 500, 500, 1110, 16), Size(640, 200, 500, 40, 16), head_lr=1e-2, head_dim=32,
    ),
    Task(
        "cifar100", "CIFAR-100 from CIFAR-10", "resnet20-cifar10", "cifar100", "accuracy", cifar100,
        CONVOLUTIONS, (-6, -5, -4), Size(15, 5, 5, 1000, 50), Size(15, 5, 5, 80, 32), head_lr=3e-2,
    ),
]  # fmt: skip
TASKS = {row.name: row for row in _ROWS}


def task_named(name: str) -> Task:
    """Raises ConfigError where no task has that name."""
    if name not in TASKS:
        raise ConfigError(f"found task {name!r}, which there is not; {nearest(name, TASKS)}")
    return TASKS[name]
