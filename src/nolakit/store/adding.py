"""Adding adapters: checked before the transaction, on the disk after it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nolakit.errors import AdapterError
from nolakit.store.connections import Connections
from nolakit.store.entries import Entry, entries_of
from nolakit.store.formats import Kind, kind_of, opened, opened_as, packed_bytes
from nolakit.store.names import check_name, check_tag

BATCH_BYTES = 32 << 20
BATCH_ROWS = 2000


@dataclass(frozen=True)
class New:
    """An adapter to be added: where it is, or its bytes."""

    name: str
    adapter: str | Path | bytes
    tags: Sequence[str] = ()


@dataclass(frozen=True)
class Checked:
    """An adapter that may be added."""

    name: str
    tags: Sequence[str]
    digest: bytes
    kind: Kind
    data: bytes


def add_one(connections: Connections, new: New, *, bits: int | None) -> Entry:
    """Add an adapter in a transaction of its own. Raises as `add_all`."""
    return _commit(connections, [_checked(new, bits)])[0]


def add_all(
    connections: Connections,
    adapters: Iterable[New],
    *,
    bits: int | None,
    committed: Callable[[list[Entry]], None] | None = None,
) -> list[Entry]:
    """Add adapters in transactions of at most 32 MiB.

    Args:
        bits: as `packed_bytes`.
        committed: called with the entries of each transaction when they are on the disk.

    Raises:
        AdapterError, StoreNameError: an adapter or a name that is refused. What was committed before stays.
        StoreBusyError, StoreFullError, StoreReadOnlyError: as `Connections.writing`.
    """
    entries: list[Entry] = []
    for batch in _batches(_checked(new, bits) for new in adapters):
        made = _commit(connections, batch)
        entries += made
        if committed is not None:
            committed(made)
    return entries


def _commit(connections: Connections, batch: list[Checked]) -> list[Entry]:
    with connections.writing() as connection:
        kinds: dict[Kind, int] = {}
        rows = [_insert(connection, one, kinds) for one in batch]
        entries = entries_of(connection, rows)
        return [entries[row] for row in rows]


def _checked(new: New, bits: int | None) -> Checked:
    check_name(new.name)
    for each in new.tags:
        check_tag(each)
    data = packed_bytes(new.adapter, bits)
    adapter = opened(data, f"the adapter to add as {new.name!r}")
    return Checked(new.name, new.tags, bytes.fromhex(adapter.digest), kind_of(adapter), data)


def _batches(checked: Iterable[Checked]) -> Iterator[list[Checked]]:
    batch: list[Checked] = []
    size = 0
    for one in checked:
        batch.append(one)
        size += len(one.data)
        if size >= BATCH_BYTES or len(batch) >= BATCH_ROWS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _insert(connection: sqlite3.Connection, one: Checked, kinds: dict[Kind, int]) -> int:
    """The version's row; the newest one where it has this content already."""
    blob = _blob(connection, one)
    row = connection.execute("SELECT id, last FROM names WHERE name = ?", (one.name,)).fetchone()
    if row is None:
        number = 1
        name = _inserted(connection, "INSERT INTO names (name, last) VALUES (?, 1)", one.name)
    else:
        name, number = row[0], row[1] + 1
        newest = "SELECT id, blob FROM versions WHERE name = ? ORDER BY number DESC LIMIT 1"
        version, held = connection.execute(newest, (name,)).fetchone() or (0, None)
        if held == blob:
            set_tags(connection, version, one.tags)
            return version
        connection.execute("UPDATE names SET last = ? WHERE id = ?", (number, name))
    if one.kind not in kinds:
        kinds[one.kind] = _kind(connection, one.kind)
    query = "INSERT INTO versions (name, number, blob, kind, size, created) VALUES (?, ?, ?, ?, ?, ?)"
    values = name, number, blob, kinds[one.kind], len(one.data), int(time.time())
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
