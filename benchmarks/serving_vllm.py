"""Measures vLLM with plain LoRA folders beside vLLM with a store, for docs/serving.md.

    .venv/bin/python benchmarks/serving_vllm.py --environment .vllm     # about ten minutes on two cores

The environment is the one of `make test-vllm`, and is made where it is not there. The base, the adapters, the prompts
and the draws are those of benchmarks/serving.py; requests go over HTTP, sixteen at once. Folders are exported and
registered beforehand for every adapter that will be drawn, and are not timed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from interleaved import interleaved
from machine import processor
from nolakit import export_lora
from nolakit.store.store import Store
from serving import COUNT, DISTINCT, PROMPT, ROWS, SLOTS, TOKENS, drawn
from serving_models import VOCABULARY, base, filled_store, prompts
from serving_report import write_report

sys.path.append(str(Path(__file__).parents[1] / "tests" / "vllm_plugin" / "real"))
from environment import TORCH, VLLM, python_of
from materials import make_tokenizer
from server import Server, environment

console = Console(stderr=True)


class Ways:
    """The same draws with the store's names and with folders'."""

    def __init__(self, server: Server, store: Store, folder: Path, requests: int, rounds: int) -> None:
        self.server, self.store, self.folder = server, store, folder
        self.texts = prompts(requests, PROMPT)
        self.draws = {
            distinct: [drawn(distinct, requests, seed) for seed in range(rounds + 1)] for distinct in DISTINCT
        }
        self.turn: dict[str, int] = {}

    def register(self) -> None:
        """Make vLLM know a folder for every adapter that will be drawn."""
        every = {name for some in self.draws.values() for draw in some for name in draw if name}
        for name in sorted(every):
            packed = self.folder / "one.packed"
            packed.write_bytes(self.store.read(name))
            place = export_lora(packed, self.folder / "folders" / name)
            status, text = self.server.post(
                "/v1/load_lora_adapter", {"lora_name": f"plain-{name}", "lora_path": str(place)}
            )
            if status != 200:
                raise SystemExit(f"vLLM refused {place}: {text[:300]}")

    def run(self, distinct: int, prefix: str) -> None:
        """One round."""
        key = f"{prefix}{distinct}"
        turn = self.turn[key] = self.turn.get(key, -1) + 1
        models = [f"{prefix}{name}" if name else "base" for name in self.draws[distinct][turn]]
        answers = self.server.complete_all(models, self.texts, TOKENS)
        assert all(len(answer.ids) == TOKENS for answer in answers), answers[0].text[:300]


def measure(python: Path, folder: Path, requests: int, rounds: int) -> dict[str, Any]:
    """The row."""
    model = base()
    model.save_pretrained(folder / "base")
    make_tokenizer(folder / "base", VOCABULARY)
    with console.status("ten thousand adapters"):
        store = filled_store(folder / "adapters.nola", model)
    env = environment(store.path)
    with store, Server(python, folder / "base", folder / "server.log", env) as server:
        ways = Ways(server, store, folder, requests, rounds)
        with console.status("plain LoRA folders"):
            ways.register()
        text = ways.texts[0]
        ours = server.complete("adapter-00000", text, TOKENS).ids
        if not ours or ours != server.complete("plain-adapter-00000", text, TOKENS).ids:
            raise SystemExit("the store's adapter and its folder give different tokens; nothing was timed")
        candidates: dict[str, Callable[[], object]] = {"vLLM, store 0": lambda: ways.run(0, "")}
        for distinct in DISTINCT[1:]:
            for way, prefix in (("vLLM, store", ""), ("vLLM, LoRA folders", "plain-")):
                candidates[f"{way} {distinct}"] = lambda distinct=distinct, prefix=prefix: ways.run(
                    distinct, prefix
                )
        with console.status("throughput"):
            timings = interleaved(candidates, rounds=rounds, warm_up=1)
    rates = {
        way: [round(requests * TOKENS / seconds, 1) for seconds in timing.seconds]
        for way, timing in timings.items()
    }
    return {"work": "vllm", "rates": rates, "requests": requests, "slots": SLOTS, "adapters": COUNT}


def main() -> None:
    """Measure, append the row, and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--environment", type=Path, default=Path(".vllm"), help="vLLM's own virtual environment"
    )
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    python = python_of(options.environment.absolute())
    with tempfile.TemporaryDirectory() as folder:
        row = measure(python, Path(folder), options.requests, options.rounds)
    named = dict(one.split("==") for one in (VLLM, TORCH))
    with ROWS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row | {"device": processor(), "versions": named}) + "\n")
    write_report(ROWS)


if __name__ == "__main__":
    main()
