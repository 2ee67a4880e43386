"""What serving costs: time to the first token, and throughput of a full batch of different adapters."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from materials import numbered
from server import MAX_LORAS, Server

TOKENS = 64
TRIES = 5


def time_to_first_token(
    server: Server, prompts: Sequence[Sequence[int]], names: Sequence[str]
) -> dict[str, float]:
    """Medians in seconds over single requests of one token.

    Args:
        names: adapters that the server has not seen, more than twice as many as it keeps.
    """
    hot = names[0]
    server.complete(hot, prompts[0], 1)  # in its slot, whatever loading it took

    def median(models: Sequence[str]) -> float:
        return statistics.median(
            server.complete(model, prompts[index % len(prompts)], 1).seconds
            for index, model in enumerate(models)
        )

    return {
        "base": median(["base"] * 30),
        "adapter, hot": median([hot] * 30),
        "adapter, first use": median(names[1:]),
        "adapter, after eviction": median(
            names[1 : len(names) - MAX_LORAS]
        ),  # in order: each was evicted since
    }


def throughput(
    server: Server, prompts: Sequence[Sequence[int]], cases: dict[str, Sequence[str]]
) -> dict[str, list[float]]:
    """Tokens a second of one batch of requests for these models, several times, the cases in turn."""
    rates: dict[str, list[float]] = {case: [] for case in cases}
    for _ in range(TRIES):
        for case, models in cases.items():
            server.complete_all(models, prompts, 8)  # all in their slots
            started = time.perf_counter()
            made = server.complete_all(models, prompts, TOKENS)
            rates[case].append(sum(len(one.ids) for one in made) / (time.perf_counter() - started))
    return rates


def rows(python: Path, seconds: dict[str, float], rates: dict[str, list[float]]) -> list[str]:
    """A JSON line for each figure."""
    code = (
        "import json, torch, vllm; print(json.dumps({'vllm': vllm.__version__, 'torch': torch.__version__}))"
    )
    versions = json.loads(
        subprocess.run([str(python), "-c", code], capture_output=True, text=True).stdout.splitlines()[-1]
    )
    common = {
        "engine": "vllm",
        "versions": versions,
        "max_loras": MAX_LORAS,
        "python": sys.version.split()[0],
    }
    made = [
        {"what": "time to first token", "case": case, "seconds": round(value, 5)}
        for case, value in seconds.items()
    ]
    made += [
        {
            "what": "throughput",
            "case": case,
            "requests": 16,
            "new_tokens": TOKENS,
            "tokens_per_second": [round(one, 1) for one in values],
        }
        for case, values in rates.items()
    ]
    return [json.dumps(common | row) for row in made]


def many(first: int, count: int) -> list[str]:
    """Names of the 10,000."""
    return [numbered(number) for number in range(first, first + count)]
