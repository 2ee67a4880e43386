"""SQLite's errors as nolakit's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from nolakit.errors import (
    StoreBusyError,
    StoreDamagedError,
    StoreError,
    StoreFormatError,
    StoreFullError,
    StoreReadOnlyError,
)


@contextmanager
def typed(path: str) -> Iterator[None]:
    """Raise what SQLite raises in the block as a StoreError that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise translated(error, path) from error


def translated(error: sqlite3.Error, path: str) -> StoreError:
    """The StoreError of an SQLite error."""
    code = getattr(error, "sqlite_errorcode", 0)
    match code & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreBusyError(
                f"found {path!r} being written by another process for longer than the timeout; try again, or open "
                "it with a longer timeout"
            )
        case sqlite3.SQLITE_FULL:
            return StoreFullError(
                f"found no room on the disk of {path!r}; nothing of this transaction was written. Free some space, "
                "or delete adapters with `nolakit store rm` and `gc`"
            )
        case sqlite3.SQLITE_READONLY:
            return StoreReadOnlyError(f"found {path!r} read-only; open it where it may be written ({error})")
        case sqlite3.SQLITE_NOTADB:
            return StoreFormatError(f"found {path!r}, which is not an SQLite file; expected a store")
        case sqlite3.SQLITE_CORRUPT:
            return StoreDamagedError(
                f"found {path!r} damaged: {error}. `nolakit store verify` lists what is; fetch the store again, or "
                "export what is whole into a new one"
            )
        case sqlite3.SQLITE_IOERR:
            return StoreError(f"found the disk of {path!r} failing: {error} ({error.sqlite_errorname})")
        case sqlite3.SQLITE_CANTOPEN:
            return StoreError(
                f"found {path!r}, which cannot be opened: {error}. In a folder that may not be written, open it "
                "with read_only=True"
            )
    return StoreError(f"found {path!r} failing: {error}")
