"""Kernels are compiled once for a machine, say so, and hold no basis in memory. Each case is a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numba

from nolakit.basis import compiling

COMBINE = """
import json, os, time
import torch
from nolakit.basis import combine, stream_number
start = time.perf_counter()
total = combine(torch.ones(1, 4), seed=1, stream=2, size=64).double().sum().item()
print(json.dumps([total, time.perf_counter() - start]))
"""
MEMORY = """
import torch
from pathlib import Path
from nolakit.basis import combine, project
num_basis, size = 4096, 1 << 18
combine(torch.ones(1, 4), seed=1, stream=2, size=64)
project(torch.ones(1, 64), num_basis=4, seed=1, stream=2)

def memory(name):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024

before = memory("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
vector = combine(torch.ones(1, num_basis), seed=1, stream=2, size=size)
project(vector, num_basis=num_basis, seed=1, stream=2)
print(memory("VmHWM") - before, num_basis * size * 4, size * 4)
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )


def test_a_first_start_says_that_it_compiles_and_a_second_has_nothing_to_say(tmp_path):
    first, second = (run(COMBINE, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert first.stderr.count("compiling combine_tiles for this processor") == 1
    assert second.stderr == ""
    (before, slow), (after, quick) = (json.loads(process.stdout) for process in (first, second))
    assert before == after
    assert quick < slow


def test_where_nothing_can_be_kept_kernels_work_and_say_so(monkeypatch, caplog):
    njit = numba.njit

    def nowhere(function, *, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(function, **options)

    monkeypatch.setattr(numba, "njit", nowhere)

    @compiling.compiled()
    def plus_one(value):
        return value + 1

    compiling.ready(plus_one, 1)
    compiling.ready(plus_one, 1)
    assert plus_one(1) == 2
    assert caplog.messages == ["compiling plus_one for this processor: some seconds, once"]


def test_memory_is_that_of_the_result_and_not_of_the_basis():
    extra, basis, result = map(int, run(MEMORY).stdout.split())
    assert extra < 32 * result < basis / 100
