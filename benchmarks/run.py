"""Measures nolakit beside its peers and writes docs/performance.md.

    .venv/bin/python benchmarks/run.py                    # everything, about twenty-five minutes on two cores
    .venv/bin/python benchmarks/run.py --only operations  # one file's works
    .venv/bin/python benchmarks/run.py --report           # the document again, from the rows

Every result is checked before anything is timed; candidates run in turn; each work is a row appended to
benchmarks/results.jsonl, with versions and the device. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import torch
from rich.console import Console

from interleaved import interleaved
from machine import Peaks, accelerator, measured_peaks, processor
from nolakit.tasks.quiet import quiet
from peak_memory import measurements
from report import write_report
from work import OURS, Cost, Work

ROWS = Path(__file__).with_name("results.jsonl")
FILES = ("operations", "first_start", "cold_expansion", "training_step", "peak_memory", "scaling", "gpu")
PACKAGES = ("nolakit", "torch", "numba", "peft", "transformers")
console = Console(stderr=True)


def measure(work: Work, peaks: Peaks | None) -> dict:
    """Check, time and describe one work."""
    work.check()
    timings = interleaved(work.candidates, rounds=work.rounds, calls=work.calls)
    ours = timings[OURS]
    return {
        "work": work.name,
        "seconds": {name: [round(value, 7) for value in timing.seconds] for name, timing in timings.items()},
        "ratios": {name: round(ours.ratio_to(timing), 4) for name, timing in timings.items() if name != OURS},
        "targets": work.targets,
        "target_seconds": work.target_seconds,
        "floor": None if peaks is None or work.cost == Cost() else float(f"{peaks.floor(work.cost):.3g}"),
        "trained": work.trained,
        "curve": work.curve,
    }


def measured_rows(name: str) -> Iterator[dict]:
    """The rows of one file."""
    if name == "gpu" and not torch.cuda.is_available():
        console.print("no GPU here: its works are left out")
        return
    if name == "peak_memory":
        with console.status("peak memory"):
            yield from measurements()
        return
    peaks = None if name == "gpu" else measured_peaks()
    with quiet():
        for work in import_module(name).works():
            with console.status(work.name):
                yield measure(work, peaks) | {"peaks": peaks and peaks.to_dict()}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=FILES, action="append", help="one file's works; may be repeated")
    parser.add_argument(
        "--report", action="store_true", help="write the document from the rows, measure nothing"
    )
    arguments = parser.parse_args()
    if not arguments.report:
        for name in arguments.only or FILES:
            for row in measured_rows(name):
                row["device"] = accelerator() if name == "gpu" else processor()
                row["versions"] = {package: version(package) for package in PACKAGES}
                with ROWS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                console.print(row["work"], row.get("ratios", ""), highlight=False)
    write_report(ROWS)


if __name__ == "__main__":
    main()
