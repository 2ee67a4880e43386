"""What a reference means."""

from __future__ import annotations

import sqlite3
from bisect import bisect
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from nolakit.errors import EntryNotFoundError, StoreDamagedError
from nolakit.store.entries import list_entries, names
from nolakit.store.names import Ref, parse_ref


@dataclass(frozen=True)
class Found:
    """A blob, and the version that it was found by, if it was not by its digest."""

    blob: int
    digest: bytes
    version: int | None


MOST_COMPARED = 500
BY_DIGEST = "SELECT b.id, b.digest, {} FROM blobs b WHERE b.digest = ?"
BY_NAME = """
SELECT b.id, b.digest, {} FROM versions v JOIN blobs b ON b.id = v.blob WHERE v.name = ? ORDER BY v.number DESC LIMIT 1
"""
BY_VERSION = BY_NAME.replace("ORDER", "AND v.number = ? ORDER")
BY_TAG = """
SELECT b.id, b.digest, {} FROM tags t JOIN versions v ON v.id = t.version JOIN blobs b ON b.id = v.blob
WHERE t.name = ? AND t.tag = ? AND v.name = t.name
"""


def find(connection: sqlite3.Connection, text: str) -> Found:
    """The blob that a reference means.

    Raises:
        StoreNameError: not a reference. EntryNotFoundError: nothing has it.
    """
    return Found(*_row(connection, text, "NULL" if text.startswith("sha256:") else "v.id"))


def read(connection: sqlite3.Connection, text: str) -> tuple[bytes, bytes]:
    """The digest that a reference means, and the bytes that are stored under it. Raises as `find`."""
    _, digest, data = _row(connection, text, "b.data")
    check_types(data, digest)
    return digest, data


def check_types(data: object, digest: object) -> None:
    """Raises StoreDamagedError where a blob is none, which only damage makes: SQLite has no types of columns."""
    if type(data) is not bytes or type(digest) is not bytes:
        raise StoreDamagedError(
            f"found a {type(data).__name__} under a {type(digest).__name__} where a blob under its digest is expected"
        )


def _row(connection: sqlite3.Connection, text: str, column: str) -> Any:
    ref = parse_ref(text)
    if ref.digest is not None:
        query, values = BY_DIGEST, (ref.digest,)
    elif ref.version is not None:
        query, values = BY_VERSION, (ref.name, ref.version)
    elif ref.tag is not None:
        query, values = BY_TAG, (ref.name, ref.tag)
    else:
        query, values = BY_NAME, (ref.name,)
    row = connection.execute(query.format(column), values).fetchone()
    if row is None:
        raise _missing(connection, ref, text)
    return row


def _missing(connection: sqlite3.Connection, ref: Ref, text: str) -> EntryNotFoundError:
    if ref.digest is not None:
        return EntryNotFoundError(f"found no adapter {text!r} in the store")
    found = list_entries(connection, [ref.name], every=True)
    if found:
        numbers = ", ".join(str(entry.version) for entry in found[-8:])
        tags = ", ".join(sorted(tag for entry in found for tag in entry.tags)) or "none"
        return EntryNotFoundError(
            f"found no {text!r}; {ref.name!r} has the versions {numbers} and the tags: {tags}"
        )
    near = get_close_matches(ref.name, _comparable(names(connection), ref.name), n=1)
    return EntryNotFoundError(
        f"found no adapter named {ref.name!r} in the store" + (f"; did you mean {near[0]!r}?" if near else "")
    )


def _comparable(sorted_names: list[str], name: str) -> list[str]:
    """Names that may have been meant: of many those beside it, since comparing ten thousand takes a second."""
    if len(sorted_names) <= MOST_COMPARED:
        return sorted_names
    place = bisect(sorted_names, name)
    return sorted_names[max(0, place - MOST_COMPARED // 2) :][:MOST_COMPARED]
