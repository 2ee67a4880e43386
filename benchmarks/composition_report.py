"""docs/composition.md from the rows of composition.jsonl."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).parents[1] / "docs" / "composition.md"
HEAD = """# What compositions are worth

Any method over a random basis (`budget`, `coefficient_basis`) is NOLA over that method. Does it beat both of its
parents with as many trained numbers? Measured by `benchmarks/composition.py` on {task}: sentences from restaurants'
attributes, {steps} steps of 8 rows on a Llama of 260k parameters, the loss of the completions in nats a token on {rows}
rows of the test split. The learning rate of every candidate was chosen alike, on the validation split with a seed of
its own, from a grid in steps of ten to the power of a quarter around the best. Mean and standard deviation are over
{seeds} seeds, of the data's order and of all random parts.

"""
COMPOSED = """
A composition beats a parent where its loss is lower with every seed; of NOLA's ranks, which cost no numbers, the best
one is the parent. In brackets: how much lower on average.

"""
TAIL = """
Measured with torch {torch} and PEFT {peft}. Trained numbers are float32; bytes are of the packed file with its
configuration, of LoRA of PEFT's two files. One task, one small base and a short training: no more than that is said.
"""

Row = dict[str, Any]


def write_report(rows: Sequence[Row], document: Path = DOCUMENT) -> None:
    """Write the document."""
    from composition_task import ROWS, STEPS

    losses = test_losses(rows)
    newest = {row["method"]: row for row in rows}
    compositions = [name for name in losses if newest[name]["parents"]]
    parents = [name for name in losses if name not in compositions]
    found = {name: beaten(losses, name, newest[name]["parents"]) for name in compositions}
    task = next(iter(newest.values()))["task"]
    seeds = max(map(len, losses.values()))
    text = HEAD.format(task=task, steps=STEPS, rows=ROWS["test"], seeds=seeds)
    text += table(
        ["method", "trained", "bytes", "learning rate", "loss"],
        (_cells(newest, rows, losses, name) for name in parents),
    )
    text += COMPOSED
    text += table(
        ["composition", "trained", "bytes", "learning rate", "loss", "beats its parents"],
        ([*_cells(newest, rows, losses, name), _verdict(found[name])] for name in compositions),
    )
    text += "\n" + conclusion(found, {name: newest[name]["text"] for name in compositions})
    text += TAIL.format(**next(iter(newest.values())))
    document.write_text(text, encoding="utf-8")


def test_losses(rows: Iterable[Row]) -> dict[str, dict[int, float]]:
    """Losses on the test split by method and seed, with the learning rate that was best on the validation split."""
    kept = list(rows)
    found: dict[str, dict[int, float]] = {}
    for row in kept:
        if row["split"] == "test" and row["lr"] == best_rate(kept, row["method"]):
            found.setdefault(row["method"], {})[row["seed"]] = (
                math.inf if row["loss"] is None else row["loss"]
            )
    return found


def best_rate(rows: Iterable[Row], method: str) -> float:
    """The learning rate of the least loss on the validation split."""
    tried = [row for row in rows if row["method"] == method and row["split"] == "validation"]
    return min(tried, key=lambda row: math.inf if row["loss"] is None else row["loss"])["lr"]


def beaten(
    losses: dict[str, dict[int, float]], name: str, parents: Sequence[str]
) -> dict[str, tuple[bool, float]]:
    """Of each parent whether the composition is better with every seed, and by how much on average. NOLA's ranks are
    one parent, that of the least mean loss."""
    own = losses[name]
    ranks = [parent for parent in parents if parent.startswith("nola r") and parent in losses]
    others = [parent for parent in parents if not parent.startswith("nola r") and parent in losses]
    best = [min(ranks, key=lambda rank: statistics.mean(losses[rank].values()))] if ranks else []
    found = {}
    for parent in (*others, *best):
        gains = [losses[parent][seed] - loss for seed, loss in own.items() if seed in losses[parent]]
        found[parent] = (all(gain > 0 for gain in gains), statistics.mean(gains))
    return found


def conclusion(found: dict[str, dict[str, tuple[bool, float]]], texts: dict[str, str]) -> str:
    """Which compositions of two methods beat both, and which ways to spread NOLA's numbers beat the even one."""
    both = [
        texts[name]
        for name, parents in found.items()
        if len(parents) == 2 and all(won for won, _ in parents.values())
    ]
    spread = [
        texts[name]
        for name, parents in found.items()
        if len(parents) == 1 and all(won for won, _ in parents.values())
    ]
    composed = sum(len(parents) == 2 for parents in found.values())
    lines = [
        f"Of {composed} compositions of two methods {len(both) or 'none'} beat both parents"
        + (f": {'; '.join(both)}." if both else ".")
    ]
    if spread:
        lines.append(f"Of NOLA itself, better than as many numbers for each factor: {'; '.join(spread)}.")
    return "\n".join(lines) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cells(
    newest: dict[str, Row], rows: Sequence[Row], losses: dict[str, dict[int, float]], name: str
) -> list[str]:
    row, found = newest[name], list(losses[name].values())
    spread = f" ± {statistics.stdev(found):.3f}" if len(found) > 1 else ""
    return [
        row["text"], f"{row['trained']:,}", f"{row['bytes']:,}", f"{best_rate(rows, name):.2g}",
        f"{statistics.mean(found):.3f}{spread}",
    ]  # fmt: skip


def _verdict(parents: dict[str, tuple[bool, float]]) -> str:
    return ", ".join(
        f"{'yes' if won else 'no'} ({parent}: {gain:+.3f})" for parent, (won, gain) in parents.items()
    )
