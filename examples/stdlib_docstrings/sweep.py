"""How the comparison's learning rates were chosen, and how much of its result is noise.

1. Every candidate trains once for each of LEARNING_RATES learning rates, with seed 0; the one with the
   best validation accuracy is taken (the smaller one if two are equal). The test set has no say.
2. It then trains with every other seed.

Each run is a row of `sweep.jsonl`, written when it is done; rows that are there are not run again, so an
interrupted sweep goes on. `sweep_table.py` makes the tables of docs/demo.md from the rows. It takes about
a minute a run.

    .venv/bin/python examples/stdlib_docstrings/sweep.py
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import task  # first: it sets transformers offline
from comparison import run
from docstrings import collect
from row import Row
from splits import split, write_sets

ROWS = Path(__file__).with_name("sweep.jsonl")
SEEDS = (0, 1, 2, 3, 4)
LEARNING_RATES = 4  # for every candidate alike


@dataclass(frozen=True)
class Candidate:
    """A method and the learning rates to try."""

    method: task.Method
    lrs: tuple[float, ...]


def adapter(title: str, method: str, **options: Any) -> task.Method:
    """A method on every Linear; its learning rate is still to be chosen."""
    return task.Method(title, method, 0.0, {**options, "target_modules": "all-linear"})


CANDIDATES = (
    Candidate(task.Method("frozen head", "head", 0.0), (2e-2, 5e-2, 1e-1, 2e-1)),
    Candidate(adapter("LoRA r=1", "lora", r=1, lora_alpha=1), (1e-3, 3e-3, 1e-2, 3e-2)),
    Candidate(adapter("NOLA r=4 k=64", "nola", r=4, lora_alpha=4, num_basis=64), (1e-3, 3e-3, 1e-2, 3e-2)),
    Candidate(adapter("NOLA r=8 k=256", "nola", r=8, lora_alpha=8, num_basis=256), (1e-3, 3e-3, 1e-2, 3e-2)),
)


def read_rows(path: Path = ROWS) -> list[Row]:
    """The rows so far."""
    if not path.is_file():
        return []
    return [Row(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def chosen_lr(rows: list[Row], title: str) -> float:
    """The learning rate with the best validation accuracy at the first seed."""
    tried = [row for row in rows if row.title == title and row.seed == SEEDS[0]]
    return max(tried, key=lambda row: (row.validation_accuracy, -row.lr)).lr


def run_once(method: task.Method, seed: int, data: dict[str, Path], folder: Path) -> None:
    """Run and append the row, unless it is there."""
    if any((row.title, row.lr, row.seed) == (method.title, method.lr, seed) for row in read_rows()):
        return
    row = run(method, data, folder / "adapter", seed=seed)
    with ROWS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row.to_dict()) + "\n")
    print(
        f"{row.title} lr {row.lr:g} seed {seed}: {row.validation_accuracy:.3f} {row.accuracy:.3f}", flush=True
    )


def main() -> None:
    """Run whatever is missing."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        data = write_sets(split(collect()), folder)
        for candidate in CANDIDATES:
            for lr in candidate.lrs:
                run_once(replace(candidate.method, lr=lr), SEEDS[0], data, folder)
        for candidate in CANDIDATES:
            best = replace(candidate.method, lr=chosen_lr(read_rows(), candidate.method.title))
            for seed in SEEDS[1:]:
                run_once(best, seed, data, folder)


if __name__ == "__main__":
    main()
