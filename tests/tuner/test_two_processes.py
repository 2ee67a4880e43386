"""Two processes on half of the data each learn what one process learns on all of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tuner import two_processes
from tuner.adapting import assert_close, assert_differ, coefficients, train

TESTS = Path(__file__).parents[1]
TORCHRUN = [
    "-m",
    "torch.distributed.run",
    "--nproc-per-node",
    "2",
    "--rdzv-backend",
    "c10d",
    "--rdzv-endpoint",
    "localhost:0",
]
LAUNCHERS = {"data_parallel": TORCHRUN, "fully_sharded": TORCHRUN, "accelerated": []}


@pytest.mark.parametrize("function", LAUNCHERS)
def test_same_coefficients_as_one_process(function, tmp_path):
    program = [sys.executable, *LAUNCHERS[function], two_processes.__file__, function, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr

    expected = two_processes.whole()
    for rank in (0, 1):
        assert_close(torch.load(tmp_path / f"{function}-{rank}.pt"), expected)
    alone = two_processes.fresh_model()
    train(alone, two_processes.part(0, 2), steps=two_processes.STEPS)
    half = torch.cat(list(coefficients(alone).values()))
    assert_differ(half, torch.cat(list(expected.values())))  # so the average was seen
