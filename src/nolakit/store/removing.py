"""Removing names and versions, and deleting what nothing refers to."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nolakit.errors import StoreNameError
from nolakit.store.connections import Connections
from nolakit.store.entries import Entry, entries_of, list_entries
from nolakit.store.failures import typed
from nolakit.store.finding import find
from nolakit.store.names import parse_ref
from nolakit.store.pins import check_unpinned, drop_ended

BATCH = 256
UNREFERENCED = (
    "FROM blobs WHERE NOT EXISTS (SELECT 1 FROM versions WHERE versions.blob = blobs.id) "
    "AND NOT EXISTS (SELECT 1 FROM pins WHERE pins.blob = blobs.id)"
)


@dataclass(frozen=True)
class Collected:
    """What `collect` deleted, or would delete."""

    blobs: int
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def remove(connections: Connections, refs: Sequence[str]) -> list[Entry]:
    """Remove versions: of `name@3` one, of `name` or a glob all. Content stays until `collect`.

    Raises:
        EntryNotFoundError: nothing has a reference. StoreNameError: a tag or a digest, which are no versions.
        PinnedError: one is in use; then none is removed.
    """
    with connections.writing() as connection:
        drop_ended(connection)
        removed: dict[str, Entry] = {}
        for ref in refs:
            removed.update((entry.ref, entry) for entry in _meant(connection, ref))
        for entry in removed.values():
            found = find(connection, entry.ref)
            check_unpinned(connection, found.blob, entry.ref)
            connection.execute("DELETE FROM versions WHERE id = ?", (found.version,))
        return list(removed.values())


def collect(
    connections: Connections,
    *,
    dry_run: bool = False,
    compact: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Collected:
    """Delete the content that no version and no pin refers to.

    Args:
        dry_run: only say what would be deleted.
        compact: write the file anew, so that the disk gets the space back. Needs as much room again for a while;
            otherwise later adapters use the space.
        progress: called with blobs that are done, and all.
    """
    with connections.writing() as connection:
        drop_ended(connection)
        rows = connection.execute(f"SELECT id, length(data) {UNREFERENCED}").fetchall()
    collected = Collected(len(rows), sum(size for _, size in rows))
    if dry_run:
        return collected
    deleted = 0
    for start in range(0, len(rows), BATCH):
        some = [(row,) for row, _ in rows[start : start + BATCH]]
        with connections.writing() as connection:  # what was referred to meanwhile stays
            connection.executemany(f"DELETE {UNREFERENCED} AND id = ?", some)
        deleted += len(some)
        if progress is not None:
            progress(deleted, len(rows))
    with connections.writing() as connection:
        connection.execute("DELETE FROM kinds WHERE id NOT IN (SELECT kind FROM versions)")
    if compact:
        with typed(str(connections.path)):
            connection = connections.here()
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return collected


def _meant(connection: sqlite3.Connection, ref: str) -> list[Entry]:
    if any(mark in ref for mark in "*?["):
        return list_entries(connection, [ref], every=True)
    parsed = parse_ref(ref)
    if parsed.digest is not None or ":" in ref:
        raise StoreNameError(
            f"found {ref!r}; expected a name, a version (name@3) or a glob of names. A tag is removed with "
            "`nolakit store tag --remove`, content with `nolakit store gc`"
        )
    found = find(connection, ref)
    if parsed.version is not None:
        assert found.version is not None
        return list(entries_of(connection, [found.version]).values())
    return list_entries(connection, [ref], every=True)
