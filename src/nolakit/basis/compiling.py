"""Compiled kernels, kept on disk: the first start compiles and says so, later ones load."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from threading import Timer
from typing import Any

import numba

SLOW = 0.5  # seconds; a kernel is loaded from disk in a tenth of that

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
    """Load or compile the kernel for these arguments by a call over an empty range. What takes long is said."""
    if not kernel.signatures:
        notice = Timer(
            SLOW,
            _log.warning,
            ("compiling %s for this processor: some seconds, once", kernel.__name__.strip("_")),
        )
        notice.daemon = True
        notice.start()
        try:
            kernel(*arguments)
        finally:
            notice.cancel()
