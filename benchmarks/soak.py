"""Runs an engine at full load while adapters are added and retired, and compares every token with PEFT's.

    .venv/bin/python benchmarks/soak.py                 # twenty minutes
    .venv/bin/python benchmarks/soak.py --minutes 60

The batch is always full and the queue is never empty. Names are given new content, new names appear, old ones are
retired and collected, prompts are cancelled, and unknown names are asked for. It ends with 1 where a token differed, a
request failed that should not have, or memory grew beyond the bound:

    1.1 times the bytes of the coefficients that became known, and SLACK

An answer is compared up to PEFT's first near tie (`near_ties.py`). The row says how many tokens were compared.

The result is a row of benchmarks/serving.jsonl, which docs/serving.md shows.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import deque
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from peft import PeftModel
from rich.console import Console
from rich.progress import Progress

from machine import processor
from near_ties import clear_tokens
from nolakit import errors, unpack
from nolakit.serve import Engine, Sampling
from nolakit.serve.request import Handle
from nolakit.store.store import Store
from serving_models import base, packed_adapters, prompts
from serving_report import write_report

ROWS = Path(__file__).with_name("serving.jsonl")
SHAPE = {
    "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "initializer_range": 0.1,
}  # fmt: skip
CONTENTS, TEXTS, TOKENS = 400, 6, 32
SLOTS, BATCH, AHEAD = 16, 16, 48
NAMES = 300
SLACK = 16 << 20  # bytes: what an allocator keeps, and what Python's own tables round up to
console = Console(stderr=True)


class Truth:
    """The tokens that PEFT gives for each content and text, as far as they are no near ties."""

    def __init__(self, contents: list[bytes], texts: list[list[int]], folder: Path) -> None:
        self.tokens: list[list[list[int]]] = []
        model: Any = None
        with Progress(console=console) as progress:
            for number in progress.track(range(len(contents)), description="PEFT's tokens"):
                packed = folder / "one.packed"
                packed.write_bytes(contents[number])
                place = unpack(packed, folder / f"content-{number}")
                if model is None:
                    model = PeftModel.from_pretrained(base(**SHAPE), place, adapter_name="one").eval()
                else:
                    model.delete_adapter("one")
                    model.load_adapter(place, adapter_name="one")
                    model.set_adapter("one")
                self.tokens.append(clear_tokens(model, texts, TOKENS))


class Soak:
    """The load, and what came of it."""

    def __init__(self, engine: Engine, contents: list[bytes], texts: list[list[int]], truth: Truth) -> None:
        self.engine, self.contents, self.texts, self.truth = engine, contents, texts, truth
        self.draw = random.Random(0)
        self.serves: dict[str, int] = {}  # name -> content of its newest version
        self.under_way: deque[tuple[Handle, int, int]] = deque()
        self.counts = dict.fromkeys(
            ("answered", "tokens", "compared", "wrong", "failed", "cancelled", "refused", "added", "retired"),
            0,
        )

    def step(self) -> None:
        """Change something of the store now and then, keep the queue full, and check what has ended."""
        if self.draw.random() < 0.2 or len(self.serves) < 20:
            self._add()
        if self.draw.random() < 0.1 and len(self.serves) > NAMES // 2:
            self._retire()
        while len(self.under_way) < AHEAD:
            self._ask()
        handle, content, text = self.under_way.popleft()
        self._check(handle, content, text)

    def _add(self) -> None:
        name, content = f"team/task-{self.draw.randrange(NAMES)}", self.draw.randrange(len(self.contents))
        self.engine.store.add(name, self.contents[content])
        self.serves[name] = content
        self.counts["added"] += 1

    def _retire(self) -> None:
        name = self.draw.choice([*self.serves])
        digest = self.engine.store.digest(name)
        self.engine.store.remove(name)
        del self.serves[name]
        if digest not in {self.engine.store.digest(other) for other in self.serves}:
            self.engine.forget(digest)
        if self.counts["retired"] % 50 == 0:
            self.engine.store.collect()
        self.counts["retired"] += 1

    def _ask(self) -> None:
        if self.draw.random() < 0.01:
            try:
                self.engine.submit(self.texts[0], "team/nobody")
            except errors.EntryNotFoundError:
                self.counts["refused"] += 1
        rank = min(
            int(self.draw.paretovariate(0.7)) - 1, len(self.serves) - 1
        )  # some are asked for far more often
        name, text = [*self.serves][rank], self.draw.randrange(len(self.texts))
        tokens = self.draw.choice((4, 16, TOKENS))
        handle = self.engine.submit(self.texts[text], name, Sampling(max_new_tokens=tokens))
        if self.draw.random() < 0.03:
            handle.cancel()
        self.under_way.append((handle, self.serves[name], text))

    def _check(self, handle: Handle, content: int, text: int) -> None:
        try:
            finished = handle.result(120)
        except (errors.NolakitError, TimeoutError) as error:
            console.print(f"[red]failed: {error}")
            self.counts["failed"] += 1
            return
        self.counts["cancelled"] += finished.reason == "cancelled"
        self.counts["answered"] += 1
        self.counts["tokens"] += len(finished.ids)
        compared = min(len(finished.ids), len(self.truth.tokens[content][text]))
        self.counts["compared"] += compared
        self.counts["wrong"] += finished.ids[:compared] != self.truth.tokens[content][text][:compared]


def run(minutes: float, folder: Path) -> dict[str, Any]:
    """The soak's row."""
    model, texts = base(**SHAPE), prompts(TEXTS, 24)
    contents = packed_adapters(base(**SHAPE), CONTENTS)
    truth = Truth(contents, texts, folder)
    process, samples = psutil.Process(), []
    with (
        Store.create(folder / "soak.nola") as store,
        Engine(model, store, slots=SLOTS, max_batch=BATCH, eos_token_ids=[]) as engine,
        Progress(console=console) as progress,
    ):
        soak = Soak(engine, contents, texts, truth)
        bar = progress.add_task("soak", total=minutes * 60)
        start = sampled = time.monotonic()
        while (now := time.monotonic()) < start + minutes * 60:
            soak.step()
            if now - sampled >= 5:
                sampled = now
                stats = engine.stats()
                samples.append(
                    [round(now - start), process.memory_info().rss, stats.known_bytes, soak.counts["tokens"]]
                )
                wrong, failed = soak.counts["wrong"], soak.counts["failed"]
                text = f"{soak.counts['tokens']:,} tokens, {wrong} wrong, {failed} failed"
                progress.update(bar, completed=now - start, description=text)
        seconds = time.monotonic() - start
        for handle, content, text in soak.under_way:
            soak._check(handle, content, text)
        stats = engine.stats()
    warm = max(1, len(samples) // 5)  # the first fifth fills caches and slots
    before, after = samples[warm], samples[-1]
    grown, known = after[1] - before[1], after[2] - before[2]
    return {
        "work": "soak", "minutes": round(seconds / 60, 2), **soak.counts, "evictions": stats.evictions,
        "hit_rate": round(stats.hit_rate, 4), "grown_bytes": grown, "bound_bytes": int(1.1 * max(0, known)) + SLACK,
        "peak_bytes": max(sample[1] for sample in samples), "samples": samples[:: max(1, len(samples) // 60)],
    }  # fmt: skip


def main() -> None:
    """Soak, append the row, and say whether it holds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--rows", type=Path, default=ROWS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        row = run(options.minutes, Path(folder))
    row |= {"device": processor(), "versions": {"nolakit": version("nolakit"), "torch": version("torch")}}
    with options.rows.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    if options.rows == ROWS:
        write_report(ROWS)
    print(json.dumps({name: value for name, value in row.items() if name != "samples"}))
    if row["wrong"] or row["failed"] or row["grown_bytes"] > row["bound_bytes"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
