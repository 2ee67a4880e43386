"""Do compositions of methods beat their parents with as many trained numbers? Rows of results, and the document.

    .venv/bin/python benchmarks/composition.py --base bases/llama-stories-260k --data data/e2e
    .venv/bin/python benchmarks/composition.py --report

The learning rate of every candidate is chosen alike: on the validation split with seed 0, from a grid in steps of the
square root of ten that grows while the best is at its edge, and then at half a step on both sides of the best. Only
then the test split is used, with other seeds. A run that was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nolakit
from composition_methods import CANDIDATES, Candidate
from composition_report import write_report
from composition_task import Task

ROWS = Path(__file__).with_suffix(".jsonl")
GRID = (-5.0, -4.0, -3.0, -2.0)  # exponents of the square root of ten
WIDEST = 9  # rates tried before the halves
SEEDS = (1, 2, 3)

Row = dict[str, Any]


class Experiment:
    """The candidates on one task, and the rows that there are."""

    def __init__(self, task: Task, rows: Path) -> None:
        self.task, self.path = task, rows
        lines = rows.read_text(encoding="utf-8").splitlines() if rows.is_file() else []
        self.rows: list[Row] = [json.loads(line) for line in lines]
        self.energies = cache(task.energies)

    def run(self, candidate: Candidate, seeds: tuple[int, ...] = SEEDS) -> None:
        """Choose the learning rate, then train with other seeds and use the test split."""
        exponent = best_exponent(lambda each: self.validated(candidate, each))
        for seed in seeds:
            self.row(candidate, exponent, seed, "test")

    def validated(self, candidate: Candidate, exponent: float) -> float:
        """The loss on the validation split of the run with seed 0; infinite where it diverged."""
        loss = self.row(candidate, exponent, 0, "validation")["loss"]
        return math.inf if loss is None else loss

    def row(self, candidate: Candidate, exponent: float, seed: int, split: str) -> Row:
        """A row that is there, or a new one."""
        key = {
            "task": self.task.name, "method": candidate.name, "split": split,
            "lr": float(f"{10 ** (exponent / 2):.3g}"), "seed": seed,
        }  # fmt: skip
        for row in self.rows:
            if all(row[name] == value for name, value in key.items()):
                return row
        start = time.perf_counter()
        trained = self.task.train(candidate.make(seed, self.energies), key["lr"], seed)
        loss = self.task.loss(trained.model, split)
        row = {
            **key, "text": candidate.text, "parents": list(candidate.parents), "trained": trained.numbers,
            "bytes": stored_bytes(trained.model), "loss": loss if math.isfinite(loss) else None,
            "train_loss": trained.loss if math.isfinite(trained.loss) else None,
            "seconds": round(time.perf_counter() - start, 1), "torch": version("torch"), "peft": version("peft"),
        }  # fmt: skip
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(
            f"{candidate.name}: lr {key['lr']:g} seed {seed} {split} {loss:.4f}, {row['seconds']} s",
            flush=True,
        )
        return row


def best_exponent(loss: Callable[[float], float]) -> float:
    """The exponent of the least loss on the grid, which grows at an edge that is best, or half a step beside it."""
    losses = {exponent: loss(exponent) for exponent in GRID}
    while len(losses) < WIDEST:
        best = min(losses, key=losses.__getitem__)
        beyond = {min(losses): min(losses) - 1, max(losses): max(losses) + 1}.get(best)
        if beyond is None:
            break
        losses[beyond] = loss(beyond)
    best = min(losses, key=losses.__getitem__)
    losses |= {near: loss(near) for near in (best - 0.5, best + 0.5)}
    return min(losses, key=losses.__getitem__)


def stored_bytes(model: Any) -> int:
    """The adapter's size: packed with 32 bits, of PEFT's LoRA the two files of its folder."""
    with tempfile.TemporaryDirectory() as place:
        model.save_pretrained(place)
        if nolakit.open_adapter(place).computed:
            return len(nolakit.pack(place))
        return sum(path.stat().st_size for path in Path(place).glob("adapter_*"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, help="folder of a Llama of 5 layers and width 64")
    parser.add_argument("--data", type=Path, help="folder with train, validation and test.jsonl")
    parser.add_argument("--method", action="append", help="names of candidates; default all")
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--report", action="store_true", help="write docs/composition.md")
    given = parser.parse_args()
    if given.base and given.data:
        experiment = Experiment(Task(given.base, given.data), given.rows)
        for candidate in CANDIDATES:
            if given.method is None or candidate.name in given.method:
                experiment.run(candidate)
    if given.report:
        write_report([json.loads(line) for line in given.rows.read_text(encoding="utf-8").splitlines()])


if __name__ == "__main__":
    main()
