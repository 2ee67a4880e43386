"""The metric against stored bytes: one picture a task, with the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

from nolakit.bench.quality.answers import UNADAPTED
from nolakit.bench.quality.candidates import ABLATIONS
from nolakit.bench.quality.summary import Summary, front
from nolakit.bench.quality.task import Task

MARKS = "osD^v<>Pp*hX"
LEADING = {"NOLA": "C3", "LoRA": "C0"}  # the two that the question is about
CHANGED = {row.family: "NOLA, changed" for row in ABLATIONS}  # which a table tells apart


def plot(task: Task, found: Sequence[Summary], path: Path) -> None:
    """Write an SVG, the same for the same rows."""
    matplotlib.rcParams["svg.hashsalt"] = "nolakit"
    figure, panel = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
    scale = 100 if task.higher else 1
    points = [s for s in found if s.name not in UNADAPTED and s.bytes and math.isfinite(s.mean)]
    labels = {s.name: CHANGED.get(s.family, s.family) for s in points}
    for number, label in enumerate(dict.fromkeys(labels.values())):
        mine = sorted((s for s in points if labels[s.name] == label), key=lambda s: s.bytes)
        leads = label in LEADING
        panel.errorbar(
            [s.bytes for s in mine], [s.mean * scale for s in mine], [s.deviation * scale for s in mine],
            fmt=MARKS[number % len(MARKS)] + ("-" if leads else ""), color=LEADING.get(label, f"C{number % 10}"),
            alpha=1.0 if leads else 0.6, ms=6 if leads else 4, lw=1, capsize=2, label=label,
        )  # fmt: skip
    best = front(task, points)
    panel.step(
        [s.bytes for s in best],
        [s.mean * scale for s in best],
        "k:",
        where="post",
        lw=1,
        label="Pareto front",
    )
    for s in found:
        if s.name in UNADAPTED and math.isfinite(s.mean):
            panel.axhline(
                s.mean * scale, color="0.5", ls="--" if s.name == UNADAPTED[0] else "-.", lw=1, label=s.name
            )
    panel.set(
        xscale="log", xlabel="stored bytes, head apart", title=task.title,
        ylabel="accuracy, %" if task.higher else "loss, nats a token",
    )  # fmt: skip
    figure.legend(loc="outside right upper", fontsize=7)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
