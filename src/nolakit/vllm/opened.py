"""The stores that this process has open, each once."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from nolakit.errors import StoreError, StoreFormatError, StoreNotFoundError
from nolakit.store.store import Store

_open: dict[Path, tuple[tuple[int, int, int], Store]] = {}
_lock = threading.Lock()


def open_store(path: Path) -> Store:
    """The store at a path. A file that was deleted is not read any more, though SQLite still could; one that was
    replaced is opened anew.

    Raises:
        StoreNotFoundError: no file. StoreError: one that cannot be opened, or is no store.
    """
    with _lock:
        try:
            status = os.stat(path)
        except OSError as error:
            raise StoreNotFoundError(f"found no store at {str(path)!r}: {error}") from error
        key = os.getpid(), status.st_dev, status.st_ino
        found = _open.get(path)
        if found is None or found[0] != key:
            _open[path] = found = key, _opened(path)  # what was there may hold pins and stays open
        return found[1]


def _opened(path: Path) -> Store:
    try:
        return Store(path)
    except (StoreNotFoundError, StoreFormatError):
        raise
    except StoreError:  # a folder that may not be written, where nothing can be pinned either
        return Store(path, read_only=True)
