"""The rows of an adapter that is added."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass

from nolakit.errors import AdapterError
from nolakit.store.formats import Kind, opened_as


@dataclass(frozen=True)
class Checked:
    """An adapter that may be added."""

    name: str
    tags: Sequence[str]
    digest: bytes
    kind: Kind
    data: bytes


def insert(connection: sqlite3.Connection, one: Checked, kinds: dict[Kind, int]) -> int:
    """The version's row; the newest one where it has this content already."""
    blob = _blob(connection, one)
    newest = "SELECT id, number, blob FROM versions WHERE name = ? ORDER BY number DESC LIMIT 1"
    version, number, held = connection.execute(newest, (one.name,)).fetchone() or (0, 0, None)
    if held == blob:
        set_tags(connection, version, one.tags)
        return version
    retired = connection.execute("SELECT last FROM retired WHERE name = ?", (one.name,)).fetchone()
    number = max(number, *(retired or (0,))) + 1
    if one.kind not in kinds:
        kinds[one.kind] = _kind(connection, one.kind)
    query = "INSERT INTO versions (name, number, blob, kind, size, created) VALUES (?, ?, ?, ?, ?, ?)"
    values = one.name, number, blob, kinds[one.kind], len(one.data), int(time.time())
    version = _inserted(connection, query, *values)
    set_tags(connection, version, one.tags)
    return version


def _blob(connection: sqlite3.Connection, one: Checked) -> int:
    """The blob's row. One that is there is kept, unless it is damaged: then it is put in anew under its number."""
    row = connection.execute("SELECT id, data FROM blobs WHERE digest = ?", (one.digest,)).fetchone()
    number = None if row is None else row[0]
    if row is not None and row[1] != one.data:
        try:
            opened_as(row[1], one.digest, "it")
        except AdapterError:
            connection.execute("PRAGMA defer_foreign_keys = ON")
            connection.execute("DELETE FROM blobs WHERE id = ?", (number,))
            row = None
    if row is None:
        query = "INSERT INTO blobs (id, digest, data) VALUES (?, ?, ?)"
        return _inserted(connection, query, number, one.digest, one.data)
    return row[0]


def set_tags(connection: sqlite3.Connection, version: int, tags: Sequence[str]) -> None:
    """Have tags of the version's name mean the version."""
    for each in tags:
        connection.execute(
            "INSERT INTO tags (name, tag, version) SELECT name, ?, id FROM versions WHERE id = ? "
            "ON CONFLICT (name, tag) DO UPDATE SET version = excluded.version",
            (each, version),
        )


def _kind(connection: sqlite3.Connection, kind: Kind) -> int:
    values = kind.method, kind.bits, kind.base_model, kind.base_fingerprint
    where = "method = ? AND bits = ? AND base_model = ? AND base_fingerprint = ?"
    found = connection.execute(f"SELECT id FROM kinds WHERE {where}", values).fetchone()
    if found is not None:
        return found[0]
    columns = "(method, bits, base_model, base_fingerprint)"
    return _inserted(connection, f"INSERT INTO kinds {columns} VALUES (?, ?, ?, ?)", *values)


def _inserted(connection: sqlite3.Connection, query: str, *values: object) -> int:
    row = connection.execute(query, values).lastrowid
    assert row is not None
    return row
