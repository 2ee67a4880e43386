"""The machine: its name, and the peaks that floors are computed from, measured at the start of a run.

    floor = max(multiply-adds / rate of a large matrix product, bytes / rate of reading a large array,
                generator calls * 60 vector instructions / (lanes * instructions a second))

A call of Philox4x32-10 is ten rounds of two products, two shifts and two three-way exclusive ors on 64-bit lanes;
two such instructions of the widest kind can start in a cycle, which is an assumption about the processor. A cycle is
measured with a chain of operations that each wait for the one before.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numba
import numpy as np
import torch

from work import Cost

ROUND_INSTRUCTIONS = 6
INSTRUCTIONS_A_CYCLE = 2
TRIES = 15


@dataclass(frozen=True)
class Peaks:
    """Rates a second: multiply-adds in float32, bytes, generator calls."""

    multiply_adds: float
    bytes: float
    blocks: float

    def floor(self, cost: Cost) -> float:
        """Seconds that the cost takes at least."""
        return max(
            cost.multiply_adds / self.multiply_adds, cost.bytes / self.bytes, cost.blocks / self.blocks
        )

    def to_dict(self) -> dict[str, float]:
        return {name: float(f"{value:.3g}") for name, value in asdict(self).items()}


def processor() -> str:
    """The processor, as the system names it, and the threads that torch uses."""
    names = [line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    wide = " AVX-512" if _is_wide() else ""
    return f"{names[0] if names else platform.processor()}{wide}, {torch.get_num_threads()} threads"


def accelerator() -> str:
    """The GPU's name."""
    return torch.cuda.get_device_name()


def measured_peaks() -> Peaks:
    """The rates of this machine, each the best of several tries."""
    threads, lanes = torch.get_num_threads(), 8 if _is_wide() else 4
    matrix, array = torch.rand(2048, 2048), torch.rand(1 << 26)
    calls = lanes * INSTRUCTIONS_A_CYCLE / (10 * ROUND_INSTRUCTIONS)
    return Peaks(
        multiply_adds=2048**3 / _least_seconds(lambda: matrix @ matrix),
        bytes=array.nbytes / _least_seconds(lambda: array.sum()),
        blocks=threads * calls / _cycle_seconds(),
    )


def _cycle_seconds() -> float:
    steps = 5_000_000
    _chain(np.uint64(3), 10)
    return _least_seconds(lambda: _chain(np.uint64(3), steps)) / (4 * steps)


@numba.njit
def _chain(x, steps):
    """A product of three cycles and a sum of one a step."""
    for _ in range(steps):
        x = x * x + np.uint64(1)
    return x


def _least_seconds(call: Callable[[], object]) -> float:
    taken = []
    for _ in range(TRIES):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)


def _is_wide() -> bool:
    return any(" avx512f" in line for line in _cpu_lines())


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []
