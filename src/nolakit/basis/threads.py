"""Kernels that hold no GIL, run over parts of a range by Python's own threads.

numba's thread layers do not survive a fork, and data loaders fork.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import torch

from nolakit.basis.compiling import ready

MINIMUM_WORK = 1 << 18  # entries below which a second thread costs more than it gives


class _Threads:
    """A pool that is made on first use and made anew after a fork."""

    def __init__(self) -> None:
        self.pool: ThreadPoolExecutor | None = None
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        self.pool = None

    def run(self, kernel, length: int, work: int, inputs: tuple, constants: tuple) -> None:
        """Call `kernel` over [0, length) in as many parts as there are threads worth starting."""
        ready(kernel, *inputs, 0, 0, *constants)
        parts = max(1, min(torch.get_num_threads(), length, work // MINIMUM_WORK))
        edges = [length * part // parts for part in range(parts + 1)]
        jobs = [
            self._pool().submit(kernel, *inputs, start, stop, *constants)
            for start, stop in pairwise(edges[1:])
        ]
        kernel(*inputs, 0, edges[1], *constants)
        for job in jobs:
            job.result()

    def _pool(self) -> ThreadPoolExecutor:
        if self.pool is None:
            self.pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="nolakit-basis")
        return self.pool


threads = _Threads()
