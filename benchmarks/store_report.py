"""The table of docs/store.md, from the newest row of store.jsonl."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

DOCUMENT = Path(__file__).parents[1] / "docs" / "store.md"
BEGIN, END = "<!-- benchmarks/store.py -->\n", "<!-- end -->"
TARGETS = {  # seconds
    "add 10,000": 3.0, "read and parse": 100e-6, "list 10,000": 0.5, "open": 20e-3,
}  # fmt: skip
LARGEST_STORE = 5.9e9


def table(row: dict) -> str:
    """Medians, and least and most, in the unit that fits."""
    lines = ["| what | store | folder of files | LMDB | aimed for |", "|---|--:|--:|--:|--:|"]
    for what, ways in row["seconds"].items():
        cells = [_spread(ways[way]) if way in ways else "" for way in ("nolakit", "folder", "lmdb")]
        target = f"{_time(TARGETS[what])}" if what in TARGETS else ""
        lines.append(f"| {what} | {' | '.join(cells)} | {target} |")
    sizes = row["bytes"]
    versions = ", ".join(f"{name} {value}" for name, value in row["versions"].items())
    packed, stored, whole = (f"{sizes[name]:,.0f}" for name in ("packed", "stored", "file_of_10000"))
    return "\n".join(lines) + (
        f"\n\nAn adapter of the table has {row['adapter_bytes']:,} bytes packed. One of LLaMA-2-70B, all linear "
        f"layers, k = 512, 8 bits has {packed} packed and takes {stored} of the store's file, names and indexes "
        f"included: {whole} bytes for 10,000 (aimed for: at most {LARGEST_STORE:,.0f}).\n\n"
        f"Measured on: {row['device']}; {versions}.\n"
    )


def write_table(rows: Path) -> None:
    """Put the table into the document."""
    newest = json.loads(rows.read_text(encoding="utf-8").splitlines()[-1])
    head, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    DOCUMENT.write_text(f"{head}{BEGIN}\n{table(newest)}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def _spread(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    high = ordered[-1] if len(ordered) < 100 else ordered[int(len(ordered) * 0.99)]
    return f"{_time(statistics.median(ordered))} ({_time(ordered[0])} to {_time(high)})"


def _time(value: float) -> str:
    scale, unit = (1, "s") if value >= 1 else (1e3, "ms") if value >= 1e-3 else (1e6, "µs")
    return f"{value * scale:.3g} {unit}"
