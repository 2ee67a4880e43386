"""The most memory that a training step holds: in torch's tensors, and in a process of its own.

.venv/bin/python benchmarks/peak_memory.py "PEFT LoRA" 4    # one measurement, for a batch of 4
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from torch.profiler import ProfilerActivity, profile

STATUS, REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")
TARGETS = {"PEFT LoRA": 1.0}


def measurements(rounds: int = 3) -> Iterator[dict]:
    """GPT-2 small, c_attn: peak bytes of torch's tensors in two steps, and of processes that take three."""
    from training_models import METHODS

    setting = "GPT-2 small, c_attn, r=8 k=512, 1 x 4 x 128"
    tensors = {name: [allocated(name)] for name in METHODS}
    yield {"work": f"tensors of two steps, {setting}", "bytes": tensors, "targets": TARGETS}
    processes: dict[str, list[int]] = {name: [] for name in METHODS}
    for _ in range(rounds):
        for name in METHODS:
            command = [sys.executable, __file__, name, "4"]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            processes[name].append(json.loads(output.splitlines()[-1]))
    yield {"work": f"the whole process, {setting}", "bytes": processes, "targets": {}}


def allocated(method: str) -> int:
    """The most that torch's allocator held at a time over two steps, beyond the adapted model."""
    from training_models import GPT2, tokens_for, training

    prepared, tokens = training(GPT2, "c_attn", method), tokens_for(GPT2, 4, 128)
    prepared.step(tokens[:1, :2])  # makes what is made once
    prepared.optimizer.state.clear()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        for _ in range(2):
            prepared.step(tokens)
    changes = [
        event.nbytes() for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"
    ]
    return max(accumulate(changes))


def measure(method: str, batch: int) -> int:
    """The process's peak resident memory over three steps."""
    from training_models import GPT2, tokens_for, training

    prepared, tokens = training(GPT2, "c_attn", method), tokens_for(GPT2, batch, 128)
    REFERENCES.write_text("5")  # starts the peak anew
    for _ in range(3):
        prepared.step(tokens)
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
