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

# Python's sqlite3 also fails at a text, and at a message with a text, that is no UTF-8; only damage makes one.
FAILURES = (sqlite3.Error, UnicodeDecodeError, MemoryError)


@contextmanager
def typed(path: str) -> Iterator[None]:
    """Raise what SQLite raises in the block as a StoreError that says what to do."""
    try:
        yield
    except FAILURES as error:
        raise translated(error, path) from error


def code(error: Exception) -> int:
    """SQLite's primary result code; 0 where the error is of Python's sqlite3."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def damaged(path: str, problem: object) -> StoreDamagedError:
    """The error of a file that is not what was written."""
    return StoreDamagedError(
        f"found {path!r} damaged: {problem}. `nolakit store verify` lists what is; fetch the store again, or "
        "export what is whole into a new one"
    )


def translated(error: Exception, path: str) -> StoreError:
    """The StoreError of one of FAILURES."""
    if isinstance(error, UnicodeDecodeError):
        return damaged(path, "a text that is not UTF-8")
    if isinstance(error, MemoryError):
        return StoreError(
            f"found no memory for what {path!r} holds; it says that it holds more than there is"
        )
    match code(error):
        case 0 if "decode to UTF-8" in str(error):
            return damaged(path, "a text that is not UTF-8")
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
            return damaged(path, error)
        case sqlite3.SQLITE_IOERR:
            return StoreError(f"found the disk of {path!r} failing: {error}")
        case sqlite3.SQLITE_CANTOPEN:
            return StoreError(
                f"found {path!r}, which cannot be opened: {error}. In a folder that may not be written, open it "
                "with read_only=True"
            )
    return StoreError(f"found {path!r} failing: {error}")
