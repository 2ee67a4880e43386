"""Accuracy against trained numbers, as a PNG and as the numbers behind it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter
from row import Row

COLOURS = {"head": "#777777", "lora": "#c05a1c", "nola": "#1c6ec0"}


def plot(rows: Sequence[Row], folder: Path) -> Path:
    """Write `comparison.png` and `comparison.json` into a folder; returns the path of the PNG.

    The x axis counts what a run trained, its head included, so that the frozen head has a place on it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [row.to_dict() for row in rows]
    (folder / "comparison.json").write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for row in rows:
        total = row.trained + row.trained_head
        axes.plot(total, row.accuracy, "o", markersize=11, color=COLOURS.get(row.method, "black"))
        axes.annotate(
            f"{row.title}\n{row.accuracy:.1%}, {row.file_bytes / 1024:.0f} KiB",
            (total, row.accuracy),
            xytext=(0, 12),
            textcoords="offset points",
            ha="center",
        )
    totals = [row.trained + row.trained_head for row in rows]
    lowest, highest = min(row.accuracy for row in rows), max(row.accuracy for row in rows)
    room = max(highest - lowest, 0.02)
    axes.set_xscale("log")
    axes.set_xlim(min(totals) / 2, max(totals) * 2)
    axes.set_ylim(max(0, lowest - 0.25 * room), highest + 0.4 * room)
    axes.set_xticks(sorted(totals))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.minorticks_off()
    axes.yaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("trained numbers, head included (log scale)")
    axes.set_ylabel("test accuracy")
    axes.set_title("MiniLM-L6 on docstrings of the standard library")
    axes.grid(alpha=0.3)
    path = folder / "comparison.png"
    figure.savefig(path, dpi=150)
    return path
