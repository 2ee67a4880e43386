"""Whether a store still holds what was put in."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from nolakit.errors import AdapterError, StoreError
from nolakit.store.connections import Connections
from nolakit.store.failures import FAILURES, translated
from nolakit.store.finding import check_types
from nolakit.store.formats import opened_as

ASTRAY = """
SELECT t.name, t.tag FROM tags t LEFT JOIN versions v ON v.id = t.version AND v.name = t.name WHERE v.id IS NULL
"""


@dataclass(frozen=True)
class Damage:
    """Something that is wrong. `names` are the versions that it is the content of; none where it is the file."""

    names: tuple[str, ...]
    digest: str | None
    problem: str


@dataclass(frozen=True)
class Verification:
    """What `verify` read and found."""

    blobs: int
    damaged: tuple[Damage, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def verify(connections: Connections, *, progress: Callable[[int, int], None] | None = None) -> Verification:
    """Read everything: SQLite's own check of its pages, references, and the digest of each blob.

    Cost: all bytes of the file, twice.
    """
    connection = connections.here()
    damaged = [Damage((), None, problem) for problem in _of_the_file(connection, str(connections.path))]
    versions: dict[int, list[str]] = defaultdict(list)
    blobs: list[tuple[int, bytes]] = []
    try:
        for blob, name, number in connection.execute(
            "SELECT blob, name, number FROM versions ORDER BY name, number"
        ):
            versions[blob].append(f"{name}@{number}")
        blobs = connection.execute("SELECT id, digest FROM blobs ORDER BY id").fetchall()
    except FAILURES as error:
        damaged.append(Damage((), None, str(translated(error, str(connections.path)))))
    for done, (blob, digest) in enumerate(blobs, 1):
        problem = _of_a_blob(connection, blob, digest)
        if problem is not None:
            shown = digest.hex() if isinstance(digest, bytes) else None
            damaged.append(Damage(tuple(versions[blob]), shown, problem))
        if progress is not None:
            progress(done, len(blobs))
    for blob in versions.keys() - {row for row, _ in blobs}:
        damaged.append(Damage(tuple(versions[blob]), None, "its content is not there"))
    return Verification(len(blobs), tuple(damaged))


def _of_the_file(connection: sqlite3.Connection, path: str) -> list[str]:
    try:
        found = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        broken = [
            f"{row[0]} row {row[1]} refers to nothing"
            for row in connection.execute("PRAGMA foreign_key_check")
        ] + [
            f"the tag {name}:{tag} means no version of that name" for name, tag in connection.execute(ASTRAY)
        ]
    except FAILURES as error:
        return [f"SQLite's check failed: {translated(error, path)}"]
    return [text for text in found if text != "ok"] + broken


def _of_a_blob(connection: sqlite3.Connection, blob: int, digest: bytes) -> str | None:
    try:
        row = connection.execute("SELECT data FROM blobs WHERE id = ?", (blob,)).fetchone()
        if row is None:
            return "its content is not there"
        check_types(row[0], digest)
        opened_as(row[0], digest, "it")
    except (AdapterError, StoreError, *FAILURES) as error:
        return str(error)
    return None
