"""A new process up to its first result, with the kernels compiled before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from work import OURS, Work

COMBINE = """
import torch
from nolakit.basis import combine
assert combine(torch.ones(1, 4), seed=1, stream=2, size=64).shape == (1, 64)
"""
PEFT = "import peft"


def works() -> Iterator[Work]:
    yield Work(
        "a process: import and first combine",
        {OURS: lambda: _run(COMBINE), PEFT: lambda: _run(PEFT)},
        lambda: _run(COMBINE),
        targets={PEFT: 1.5},
        rounds=5,
    )


def _run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
