"""The most memory that a training step holds, each method in a process of its own.

.venv/bin/python benchmarks/peak_memory.py "PEFT LoRA" 4    # one measurement, for a batch of 4
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
    """GPT-2 small, c_attn: peak bytes of steps and of the whole process, for each method over several processes."""
    from training_models import METHODS

    steps: dict[str, list[int]] = {name: [] for name in METHODS}
    processes: dict[str, list[int]] = {name: [] for name in METHODS}
    for _ in range(rounds):
        for name in METHODS:
            command = [sys.executable, __file__, name, "4"]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            step, process = json.loads(output.splitlines()[-1])
            steps[name].append(step)
            processes[name].append(process)
    setting = "GPT-2 small, c_attn, r=8 k=512, 1 x 4 x 128"
    yield {"work": f"three steps, {setting}", "bytes": steps, "targets": TARGETS}
    yield {"work": f"the whole process, {setting}", "bytes": processes, "targets": {}}


def measure(method: str, batch: int) -> tuple[int, int]:
    """Resident memory that the first three steps add at their peak to a process with the libraries loaded and the
    model adapted, and the peak of all of it."""
    from training_models import GPT2, tokens_for, training

    prepared, tokens = training(GPT2, "c_attn", method), tokens_for(GPT2, batch, 128)
    prepared.step(tokens[:1, :2])  # loads what each library loads at its first use
    prepared.optimizer.state.clear()
    REFERENCES.write_text("5")  # starts the peak anew
    before = _memory("VmRSS")
    for _ in range(3):
        prepared.step(tokens)
    peak = _memory("VmHWM")
    return peak - before, peak


def _memory(name: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
