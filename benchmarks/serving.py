"""Measures an engine over ten thousand adapters beside PEFT, and writes the tables of docs/serving.md.

    .venv/bin/python benchmarks/serving.py             # about fifteen minutes on two cores
    .venv/bin/python benchmarks/serving.py --report    # the tables again, from the rows

Tokens are compared with PEFT's before anything is timed, candidates run in turn, and each run is a row of
benchmarks/serving.jsonl. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch
from peft import PeftModel
from rich.console import Console

from interleaved import interleaved
from machine import processor
from near_ties import clear_tokens
from nolakit import export_lora
from nolakit.serve import Engine, Sampling
from nolakit.serve.openmp import release_workers
from nolakit.store.store import Store
from serving_models import COUNT, base, filled_store, names, packed_adapters, prompts
from serving_report import write_report

ROWS = Path(__file__).with_name("serving.jsonl")
PACKAGES = ("nolakit", "torch", "peft", "transformers")
BATCH, SLOTS, PROMPT, TOKENS = 16, 16, 32, 64
WORKS = ("memory", "first token", "throughput", "adding")
DISTINCT = (0, 1, 4, 16, 64, 1000, COUNT)
PEFT_DISTINCT = (1, 4, 16, 64)  # one more takes PEFT longer each time: the row of adding tells
ONE_BY_ONE = (1, 4, 16)  # of a batch of sixteen
GREEDY = Sampling(max_new_tokens=TOKENS)
console = Console(stderr=True)


class Peft:
    """The same adapters as plain LoRA in one PeftModel, `adapters` of them."""

    def __init__(self, store: Store, adapters: int, folder: Path) -> None:
        self.model: Any = None
        self.seconds_to_add: list[float] = []
        for name in names(adapters):
            packed = folder / f"{name}.packed"
            packed.write_bytes(store.read(name))
            place = export_lora(packed, folder / name)
            start = time.perf_counter()
            if self.model is None:
                self.model = PeftModel.from_pretrained(base(), place, adapter_name=name)
            else:
                self.model.load_adapter(place, adapter_name=name)
            self.seconds_to_add.append(time.perf_counter() - start)
        self.model.eval()

    def mixed(self, texts: list[list[int]], adapters: list[str]) -> list[list[int]]:
        """Batches with `adapter_names`."""
        found = []
        for start in range(0, len(texts), BATCH):
            batch, who = texts[start : start + BATCH], adapters[start : start + BATCH]
            found += self._generate(batch, adapter_names=who)
        return found

    def one_by_one(self, texts: list[list[int]], adapters: list[str]) -> list[list[int]]:
        """One `set_adapter` and one `generate` for each adapter of a batch."""
        found: list[list[int]] = []
        for start in range(0, len(texts), BATCH):
            batch = list(zip(adapters[start : start + BATCH], texts[start : start + BATCH], strict=True))
            for name in dict.fromkeys(who for who, _ in batch):
                self.model.set_adapter(name)
                found += self._generate([text for who, text in batch if who == name])
        return found

    def _generate(self, texts: list[list[int]], **options: Any) -> list[list[int]]:
        return generate(self.model, texts, **options)


def generate(model: Any, texts: list[list[int]], **options: Any) -> list[list[int]]:
    """transformers' own generation of one batch."""
    ids = torch.tensor(texts)
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS, do_sample=False,
            eos_token_id=None, pad_token_id=0, **options,
        )  # fmt: skip
    return out[:, ids.shape[1] :].tolist()


def drawn(distinct: int, count: int, seed: int = 0) -> list[str | None]:
    """Adapters of `count` requests: all of `distinct` in turn, where they are fewer; else drawn uniformly."""
    if distinct == 0:
        return [None] * count
    if distinct <= count:
        return [names(distinct)[number % distinct] for number in range(count)]
    return random.Random(seed).choices(names(distinct), k=count)


def zipf(count: int, seed: int = 0) -> list[str]:
    """The adapter of rank n with a probability in proportion to 1 / n."""
    weights = [1 / (rank + 1) for rank in range(COUNT)]
    return random.Random(seed).choices(names(), weights, k=count)


def throughput(engine: Engine, store: Store, folder: Path, *, requests: int, rounds: int) -> dict[str, Any]:
    """Tokens a second by way and distinct adapters."""
    peft = Peft(store, max(PEFT_DISTINCT), folder)
    plain = base()
    texts = prompts(requests, PROMPT)
    check(engine, peft, texts[:BATCH])
    seeds = iter(range(10_000))

    def ours(adapters: Callable[[int], list[str | None]]) -> Callable[[], None]:
        return lambda: _run(engine, texts, adapters(next(seeds)))

    candidates: dict[str, Callable[[], object]] = {
        f"engine {distinct}": ours(lambda seed, distinct=distinct: drawn(distinct, requests, seed))
        for distinct in DISTINCT
    }
    candidates["engine zipf"] = ours(lambda seed: list(zipf(requests, seed)))
    few = BATCH  # the peers are slow, and have nothing to warm up
    candidates["transformers generate 0"] = _alone(lambda: generate(plain, texts[:few]))
    for distinct in PEFT_DISTINCT:
        who = [name or "" for name in drawn(distinct, few)]
        candidates[f"PEFT adapter_names {distinct}"] = _alone(lambda who=who: peft.mixed(texts[:few], who))
        if distinct in ONE_BY_ONE:
            candidates[f"PEFT set_adapter {distinct}"] = _alone(
                lambda who=who: peft.one_by_one(texts[:few], who)
            )
    timings = interleaved(candidates, rounds=rounds, warm_up=1)
    sizes = {way: requests if way.startswith("engine") else few for way in candidates}
    rates = {
        way: [round(sizes[way] * TOKENS / seconds, 1) for seconds in timing.seconds]
        for way, timing in timings.items()
    }
    stats = engine.stats()
    return {
        "work": "throughput", "rates": rates, "requests": requests, "hit_rate": round(stats.hit_rate, 4),
        "peft_seconds_to_add": [round(seconds, 4) for seconds in peft.seconds_to_add],
    }  # fmt: skip


def check(engine: Engine, peft: Peft, texts: list[list[int]]) -> None:
    """The engine's tokens are PEFT's, in one batch of sixteen adapters, up to the first near tie of each text."""
    who = names(BATCH)
    expected = clear_tokens(peft.model, texts, TOKENS, adapter_names=who)
    found = [finished.ids for finished in engine.generate(texts, who, GREEDY)]
    wrong = sum(ours[: len(theirs)] != theirs for ours, theirs in zip(found, expected, strict=True))
    if wrong:
        raise SystemExit(f"{wrong} of {BATCH} texts differ from PEFT's; nothing was timed")
    compared = sum(map(len, expected))
    console.print(f"{compared:,} of {BATCH * TOKENS:,} tokens compared with PEFT's: equal")


def first_tokens(engine: Engine, *, tries: int) -> dict[str, Any]:
    """Seconds to the first token, one request at a time: the base, an adapter in a slot, one never seen, one that is
    known and lost its slot."""
    texts = prompts(tries, PROMPT, seed=1)
    unseen = iter(names()[COUNT // 2 :])
    seconds: dict[str, list[float]] = {way: [] for way in ("base", "hot", "cold", "evicted")}
    one = Sampling(max_new_tokens=1)
    for text in texts:
        hot = names(1)[0]
        engine.submit(text, hot, one).result()
        fresh = [next(unseen) for _ in range(SLOTS + 1)]
        for way, name in (("base", None), ("hot", hot), ("cold", fresh[0])):
            seconds[way].append(_timed(engine, text, name, one))
        for name in fresh[1:]:  # push it out
            engine.submit(text, name, one).result()
        seconds["evicted"].append(_timed(engine, text, fresh[0], one))
    return {
        "work": "first token",
        "seconds": {way: [round(value, 6) for value in values] for way, values in seconds.items()},
    }


def adding(store: Store, *, tries: int) -> dict[str, Any]:
    """Seconds from having a new adapter to its first token, in a store of `tries` and of ten thousand adapters."""
    one, text = Sampling(max_new_tokens=1), prompts(1, PROMPT)[0]
    fresh = packed_adapters(base(), 2 * tries, seed=99)
    found = {}
    with tempfile.TemporaryDirectory() as folder, Store.create(Path(folder) / "small.nola") as small:
        for label, where, data in (("first", small, fresh[:tries]), (f"{COUNT:,}th", store, fresh[tries:])):
            model = base()
            with Engine(model, where, slots=SLOTS, max_batch=BATCH, eos_token_ids=[]) as fresh_engine:
                found[label] = []
                for number, adapter in enumerate(data):
                    start = time.perf_counter()
                    where.add(f"added-{number}", adapter)
                    fresh_engine.submit(text, f"added-{number}", one).result()
                    found[label].append(round(time.perf_counter() - start, 6))
    return {"work": "adding", "seconds": found}


def memory(path: Path) -> dict[str, Any]:
    """Resident bytes before and after every adapter of a store has answered; in a process of its own."""
    store = Store(path)
    model = base()
    with Engine(model, store, slots=SLOTS, max_batch=BATCH, eos_token_ids=[]) as engine:
        texts, one = prompts(COUNT, 8), Sampling(max_new_tokens=1)
        warm = 512
        for first in range(0, warm, BATCH):
            engine.generate(texts[first : first + BATCH], names()[first : first + BATCH], one)
        process = psutil.Process()
        before = process.memory_info().rss, engine.stats()
        start = time.perf_counter()
        for first in range(warm, COUNT, BATCH):  # no more requests at once than a server would hold
            engine.generate(texts[first : first + BATCH], names()[first : first + BATCH], one)
        seconds = time.perf_counter() - start
        after = process.memory_info().rss, engine.stats()
    packed = sum(entry.size for entry in store.entries()[warm:])
    return {
        "work": "memory", "adapters": COUNT - warm, "packed_bytes": packed, "resident_bytes": after[0] - before[0],
        "known": after[1].known, "seconds": round(seconds, 2), "expanded": after[1].misses,
    }  # fmt: skip


def _alone(work: Callable[[], object]) -> Callable[[], None]:
    """A peer's work in this thread, which gives its workers back as an idle engine does: nobody is slowed by threads of
    somebody who has finished."""

    def run() -> None:
        work()
        release_workers()

    return run


def _run(engine: Engine, texts: list[list[int]], adapters: list[str | None]) -> None:
    found = engine.generate(texts, adapters, GREEDY)
    assert all(len(finished.ids) == TOKENS for finished in found)


def _timed(engine: Engine, text: list[int], name: str | None, sampling: Sampling) -> float:
    start = time.perf_counter()
    engine.submit(text, name, sampling).result()
    return time.perf_counter() - start


def rows(
    folder: Path, works: Sequence[str], *, requests: int, rounds: int, tries: int
) -> Iterator[dict[str, Any]]:
    """The measurements of these works, each as soon as there is one."""
    path = folder / "adapters.nola"
    with console.status("ten thousand adapters"):
        filled_store(path, base()).close()
    if "memory" in works:
        with console.status("memory"):
            command = [sys.executable, __file__, "--memory", str(path)]
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            yield json.loads(printed.splitlines()[-1])
    with (
        Store(path) as store,
        Engine(base(), store, slots=SLOTS, max_batch=BATCH, eos_token_ids=[]) as engine,
    ):
        measures: dict[str, Callable[[], dict[str, Any]]] = {
            "first token": lambda: first_tokens(engine, tries=tries),
            "throughput": lambda: throughput(engine, store, folder, requests=requests, rounds=rounds),
            "adding": lambda: adding(store, tries=tries),
        }
        for work, measure in measures.items():
            if work in works:
                with console.status(work):
                    row = measure()
                yield row


def main() -> None:
    """Measure, append rows, and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--report", action="store_true", help="only write the tables, from the rows there are"
    )
    parser.add_argument("--memory", type=Path, metavar="STORE", help=argparse.SUPPRESS)
    parser.add_argument("--only", nargs="+", choices=WORKS, default=WORKS, help="these measurements")
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tries", type=int, default=40)
    options = parser.parse_args()
    if options.memory is not None:
        print(json.dumps(memory(options.memory)))
        return
    if not options.report:
        about = {"device": processor(), "versions": {name: version(name) for name in PACKAGES}}
        amounts = {"requests": options.requests, "rounds": options.rounds, "tries": options.tries}
        with tempfile.TemporaryDirectory() as folder:
            for row in rows(Path(folder), options.only, **amounts):
                with ROWS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row | about) + "\n")
    write_report(ROWS)


if __name__ == "__main__":
    main()
