"""Compiled kernels, kept on disk: the first start compiles and says so, later ones load."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numba

_log = logging.getLogger(__name__)


def compiled(*, fastmath: Iterable[str] = ()) -> Callable[[Callable], Any]:
    """Decorator: a kernel that holds no GIL, compiled at its first use and kept on disk.

    numba keeps it beside the source file, else in the user's cache folder, or where NUMBA_CACHE_DIR says. Where none
    of them can be written, each process compiles anew.
    """
    options = {"nogil": True, "error_model": "numpy", "fastmath": set(fastmath)}

    def decorate(function: Callable) -> Any:
        try:
            return numba.njit(function, cache=True, **options)
        except RuntimeError:  # no folder that may be written
            return numba.njit(function, **options)

    return decorate


def ready(kernel: Any, *arguments: Any) -> None:
    """Load or compile the kernel for these arguments by a call over an empty range. Compiling is said."""
    if kernel.signatures:
        return
    if not _is_kept(kernel):
        _log.warning("compiling %s for this processor: some seconds, once", kernel.__name__)
    kernel(*arguments)


def _is_kept(kernel: Any) -> bool:
    """Whether a file of compiled code is there; numba looks whether it is the right one."""
    folder = kernel.stats.cache_path
    return folder is not None and any(Path(folder).glob(f"*.{kernel.__name__}-*.nbc"))
