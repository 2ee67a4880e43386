"""The main job from end to end, in about two minutes on two cores and without a network.

1. Build a data set from the standard library's own sources.
2. Train a frozen MiniLM's head, LoRA r=1 and NOLA on it, with the same steps and the same head, and test each.
3. Load the saved NOLA adapter in a new process, then merge it into the base: the same predictions, or this
   program fails.
4. Plot accuracy against trained numbers, into `out/demo/`.

Run it as `make demo`. How the learning rates and num_basis were chosen: `sweep.py` and docs/demo.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import task  # first: it sets transformers offline
from comparison import run
from docstrings import collect
from plot import plot
from prediction import accuracy
from rich.console import Console
from row import Row
from splits import split, write_sets
from table import table

OUT = Path(__file__).resolve().parents[2] / "out" / "demo"
console = Console()


def build_data(folder: Path) -> dict[str, Path]:
    """Write the three sets; returns their paths."""
    with console.status("reading the standard library's docstrings"):
        sets = split(collect())
    modules = {name: len({example.module for example in examples}) for name, examples in sets.items()}
    sizes = ", ".join(f"{name} {len(sets[name])} docstrings of {modules[name]} modules" for name in sets)
    console.print(f"Data: {sizes}; no module and no near-duplicate in two sets.")
    return write_sets(sets, folder)


def compare(data: dict[str, Path]) -> list[Row]:
    """Train and test every method."""
    rows = []
    for method in task.METHODS:
        rows.append(run(method, data, OUT / method.method))
        console.print(f"{method.title}: {rows[-1].accuracy:.1%} in {rows[-1].seconds:.0f} s of training")
    return rows


def check_reloaded(row: Row, test: Path) -> bool:
    """Whether the adapter gives the same accuracy in a new process, and the same predictions merged."""
    adapter, out = OUT / row.method, OUT / "predictions.json"
    script = Path(__file__).with_name("prediction.py")
    subprocess.run([sys.executable, script, adapter, test, out], check=True)
    predicted = json.loads(out.read_text(encoding="utf-8"))
    expected = [json.loads(line)["label"] for line in test.read_text(encoding="utf-8").splitlines()]
    differing = sum(a != b for a, b in zip(predicted["loaded"], predicted["merged"], strict=True))
    loaded, merged = (accuracy(predicted[name], expected) for name in ("loaded", "merged"))
    console.print(f"{row.title}, here, as trained and saved:  {row.accuracy:.4%}")
    console.print(f"{row.title}, loaded in a new process:    {loaded:.4%}")
    console.print(f"{row.title}, merged into the base:       {merged:.4%}, {differing} predictions differ")
    return loaded == merged == row.accuracy and differing == 0


def main() -> int:
    """Run the demo; returns the exit status."""
    start = time.perf_counter()
    data = build_data(OUT / "data")
    rows = compare(data)
    console.print(table(rows))
    same = check_reloaded(rows[-1], data["test"])
    console.print(f"Plot: {plot(rows, OUT).relative_to(OUT.parents[1])}")
    console.print(f"{time.perf_counter() - start:.0f} s in all")
    if not same:
        console.print("[red]The reloaded or merged adapter does not predict what the trained one did.[/red]")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
