"""What a store has: versions of names."""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fnmatch import translate
from typing import Any

from nolakit.errors import StoreDamagedError
from nolakit.store.formats import LARGEST_FILE, Kind
from nolakit.store.names import check_name

LAST_SECOND = 1 << 37  # of `created`; later years than 6000 cannot be shown everywhere


@dataclass(frozen=True)
class Entry:
    """One version of a name.

    digest: SHA-256 of the content, hexadecimal.
    size: bytes of the packed adapter.
    base: the structure of the base's fingerprint; `base_fingerprint` is all of it.
    created: seconds since 1970.
    """

    name: str
    version: int
    tags: tuple[str, ...]
    digest: str
    size: int
    method: str
    bits: int
    base_model: str | None
    base: str | None
    base_fingerprint: dict[str, Any] | None
    created: int

    @property
    def ref(self) -> str:
        """The reference that always means this version."""
        return f"{self.name}@{self.version}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


_LISTED = """
SELECT id, name, number, blob, kind, size, created FROM versions
"""


@contextmanager
def one_state(connection: sqlite3.Connection) -> Iterator[None]:
    """The queries of the block see one state of the store, whoever writes meanwhile."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


def list_entries(
    connection: sqlite3.Connection, patterns: Sequence[str] = (), *, every: bool = False
) -> list[Entry]:
    """Entries in the order of their names and numbers, the newest version of each name.

    Args:
        patterns: names or globs (`team/*`); none is all.
        every: all versions of each name.

    Cost: one pass over the small tables; no blob is read.
    """
    with one_state(connection):
        rows = connection.execute(_LISTED + "ORDER BY name, number").fetchall()
        if patterns:
            matches = re.compile("|".join(translate(pattern) for pattern in patterns)).match
            rows = [row for row in rows if matches(str(row[1]))]
        if not every:
            rows = list({row[1]: row for row in rows}.values())  # the last of each name
        digests = dict(connection.execute("SELECT id, digest FROM blobs"))  # reads the index alone
        tags = connection.execute("SELECT version, tag FROM tags ORDER BY tag").fetchall()
        return list(_made(connection, rows, digests, tags).values())


def entries_of(connection: sqlite3.Connection, versions: Sequence[int]) -> dict[int, Entry]:
    """Entries by the rows of their versions."""
    rows = _among(connection, _LISTED + "WHERE id IN ({})", set(versions))
    blobs = _among(connection, "SELECT id, digest FROM blobs WHERE id IN ({})", {row[3] for row in rows})
    tags = _among(
        connection, "SELECT version, tag FROM tags WHERE version IN ({}) ORDER BY tag", set(versions)
    )
    return _made(connection, rows, dict(blobs), tags)


def _among(connection: sqlite3.Connection, query: str, values: set[int]) -> list[Any]:
    return connection.execute(query.format(",".join("?" * len(values))), list(values)).fetchall()


def _made(
    connection: sqlite3.Connection,
    rows: Sequence[Any],
    digests: dict[int, bytes],
    tags: Sequence[tuple[int, str]],
) -> dict[int, Entry]:
    tagged: dict[int, tuple[str, ...]] = defaultdict(tuple)
    for version, tag in tags:
        tagged[version] += (tag,)
    try:
        kinds = {row: Kind(*values) for row, *values in connection.execute("SELECT * FROM kinds")}
        shared = {
            row: (kind.method, kind.bits, kind.base_model or None, kind.base, kind.fingerprint)
            for row, kind in kinds.items()
        }
        made = {
            row: Entry(
                check_name(name), number, tagged[row], digests[blob].hex(), size, *shared[kind], created
            )
            for row, name, number, blob, kind, size, created in rows
        }
        if not all(
            0 <= one.size <= LARGEST_FILE and 0 <= one.created <= LAST_SECOND for one in made.values()
        ):
            raise ValueError("a size or a time that cannot be")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreDamagedError(
            f"found the list of adapters damaged: {type(error).__name__}: {str(error)[:200]}. `nolakit store verify` "
            "lists what is; fetch the store again"
        ) from error
    return made


def names(connection: sqlite3.Connection) -> list[str]:
    """Every name, sorted."""
    return [name for (name,) in connection.execute("SELECT DISTINCT name FROM versions ORDER BY name")]
