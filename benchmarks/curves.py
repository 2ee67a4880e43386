"""The scaling curves, a panel each."""

from __future__ import annotations

import statistics
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

from work import OURS

STYLES = {OURS: "o-", "floor": "k:"}


def write_plot(rows: list[dict], path: Path) -> None:
    """Seconds against size, both logarithmic. `rows` are points of curves, see `Work.curve`."""
    curves: dict[str, list[dict]] = {}
    for row in rows:
        curves.setdefault(row["curve"][0], []).append(row)
    matplotlib.rcParams["svg.hashsalt"] = "nolakit"
    columns = 3
    figure, panels = pyplot.subplots(
        -(-len(curves) // columns), columns, figsize=(13, 7), layout="constrained", squeeze=False
    )
    for panel in panels.flat[len(curves) :]:
        panel.axis("off")
    for panel, (label, points) in zip(panels.flat, curves.items(), strict=False):
        points.sort(key=lambda row: row["curve"][1])
        sizes = [row["curve"][1] for row in points]
        for name in points[0]["seconds"]:
            times = [row["seconds"][name] for row in points]
            medians = [statistics.median(each) for each in times]
            below = [m - min(t) for m, t in zip(medians, times, strict=True)]
            above = [max(t) - m for m, t in zip(medians, times, strict=True)]
            panel.errorbar(sizes, medians, [below, above], fmt=STYLES.get(name, "s--"), capsize=2, label=name)
        if all(row["floor"] for row in points):
            panel.plot(sizes, [row["floor"] for row in points], STYLES["floor"], label="floor")
        panel.set(xscale="log", yscale="log", xlabel=label, ylabel="seconds")
        panel.set_xticks(sizes, [f"{size:g}" for size in sizes])
        panel.minorticks_off()
        panel.legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
