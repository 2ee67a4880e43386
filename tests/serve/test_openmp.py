"""Workers of OpenMP are given back, and come again with the next product."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os, time, torch
from nolakit.serve.openmp import release_workers

def workers():
    return len(os.listdir("/proc/self/task"))

before = workers()
numbers = torch.arange(4_000_000, dtype=torch.float64)
first = float((numbers * 2).sum())
during = workers()
release_workers()
deadline = time.monotonic() + 30
while workers() > before and time.monotonic() < deadline:
    time.sleep(0.01)
after = workers()
again = float((numbers * 2).sum())
release_workers()
print(during > before, after - before, first == again)
"""


@pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(),
    reason="threads are counted where Linux lists them; elsewhere there is no GNU",
)
def test_workers_end_and_come_again():
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    printed = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=environment
    ).stdout
    assert printed.split() == ["True", "0", "True"]
