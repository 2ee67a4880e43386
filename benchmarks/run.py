"""Measures nolakit beside its peers and writes docs/performance.md.

    .venv/bin/python benchmarks/run.py                    # everything, about ten minutes on two cores
    .venv/bin/python benchmarks/run.py --only operations  # one file's works
    .venv/bin/python benchmarks/run.py --report           # the document again, from the rows

Every result is checked before anything is timed; candidates run in turn; each work is a row appended to
benchmarks/results.jsonl, with versions and the device. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import json
import platform
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import torch
from rich.console import Console

from interleaved import interleaved
from nolakit.tasks.quiet import quiet
from report import write_report
from work import Work

ROWS = Path(__file__).with_name("results.jsonl")
FILES = ("operations", "training_step", "cold_expansion")
PACKAGES = ("nolakit", "torch", "numba", "peft", "transformers")
console = Console(stderr=True)


def device() -> str:
    """The processor, as the system names it, and the threads that torch uses."""
    names = [line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    flags = " AVX-512" if any(" avx512f" in line for line in _cpu_lines()) else ""
    return f"{names[0] if names else platform.processor()}{flags}, {torch.get_num_threads()} threads"


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []


def measure(work: Work) -> dict:
    """Check, time and describe one work."""
    work.check()
    timings = interleaved(work.candidates, rounds=work.rounds)
    ours, theirs = timings[next(iter(work.candidates))], timings[work.against]
    return {
        "work": work.name,
        "against": work.against,
        "ratio": round(ours.ratio_to(theirs), 4),
        "target": work.target,
        "target_seconds": work.target_seconds,
        "amount": work.amount,
        "seconds": {name: [round(value, 6) for value in timing.seconds] for name, timing in timings.items()},
        "device": device(),
        "versions": {name: version(name) for name in PACKAGES},
    }


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
            with quiet():
                for work in import_module(name).works():
                    with console.status(work.name):
                        row = measure(work)
                    with ROWS.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
                    console.print(f"{row['work']}: {row['ratio']:.3f} of {row['against']}", highlight=False)
    write_report(ROWS)


if __name__ == "__main__":
    main()
