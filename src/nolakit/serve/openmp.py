"""One thread's OpenMP workers at a time.

torch computes with a pool of workers for each thread that calls it. GNU's OpenMP has idle workers spin for the next
product only while there are no more of them than cores; with the pools of two threads every one sleeps, and waking it
costs more than a small product: a step of decoding took 1.5 times as long. So threads that have finished give theirs
back; they get new ones with their next product.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path

import torch

SOFT = 1  # omp_pause_soft of OpenMP 5.0: settings stay


def release_workers() -> None:
    """End the OpenMP workers of the calling thread. Nothing where OpenMP is not GNU's, or older than 5.0."""
    for library in _libraries():
        library.omp_pause_resource_all(SOFT)


@cache
def _libraries() -> list[ctypes.CDLL]:
    """The library that torch brought, which is loaded already."""
    found = []
    for path in sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*")):
        try:
            library = ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD | os.RTLD_NOW)
        except OSError:
            continue
        if hasattr(library, "omp_pause_resource_all"):
            found.append(library)
    return found
