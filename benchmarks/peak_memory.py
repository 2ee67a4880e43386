"""The most memory that a training step holds, each method in a process of its own.

.venv/bin/python benchmarks/peak_memory.py "PEFT LoRA" 4    # one measurement: bytes, for a batch of 4
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

STATUS, REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")
TARGETS = {"PEFT LoRA": 1.0}


def measurements(rounds: int = 3) -> Iterator[dict]:
    """One row a method on GPT-2 small, c_attn: peak bytes of the process during steps, over several processes."""
    from training_models import METHODS

    found: dict[str, list[int]] = {name: [] for name in METHODS}
    for _ in range(rounds):
        for name in METHODS:
            command = [sys.executable, __file__, name, "4"]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found[name].append(json.loads(output.splitlines()[-1]))
    yield {
        "work": "peak memory of a step, GPT-2 small, c_attn, r=8 k=512, 1 x 4 x 128",
        "bytes": found,
        "targets": TARGETS,
    }


def measure(method: str, batch: int) -> int:
    """The process's peak resident memory over three steps, after one that makes what stays."""
    from training_models import GPT2, tokens_for, training

    prepared, tokens = training(GPT2, "c_attn", method), tokens_for(GPT2, batch, 128)
    prepared.step(tokens)
    REFERENCES.write_text("5")  # starts the peak anew
    for _ in range(3):
        prepared.step(tokens)
    peak = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
