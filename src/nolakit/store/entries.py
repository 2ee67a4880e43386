"""What a store has: versions of names, found by a reference or listed."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fnmatch import translate
from typing import Any

from nolakit.errors import EntryNotFoundError
from nolakit.store.formats import Kind
from nolakit.store.names import DIGEST_PREFIX, Ref, parse_ref


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


@dataclass(frozen=True)
class Found:
    """A blob that a reference means, and the version that it was found by, if it was not by its digest."""

    blob: int
    digest: bytes
    version: int | None


_BY_NAME = """
SELECT v.blob, b.digest, v.id FROM names n JOIN versions v ON v.name = n.id JOIN blobs b ON b.id = v.blob
WHERE n.name = ? {} ORDER BY v.number DESC LIMIT 1
"""
_BY_TAG = """
SELECT v.blob, b.digest, v.id FROM names n JOIN tags t ON t.name = n.id JOIN versions v ON v.id = t.version
JOIN blobs b ON b.id = v.blob WHERE n.name = ? AND t.tag = ?
"""
_NEWEST, _VERSION = _BY_NAME.format(""), _BY_NAME.format("AND v.number = ?")
_LISTED = """
SELECT v.id, n.name, v.number, v.blob, v.kind, v.size, v.created FROM names n JOIN versions v ON v.name = n.id
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


def find(connection: sqlite3.Connection, text: str) -> Found:
    """The blob that a reference means.

    Raises:
        StoreNameError: not a reference. EntryNotFoundError: nothing has it.
    """
    ref = parse_ref(text)
    row = connection.execute(*_query(ref)).fetchone()
    if row is None:
        raise _missing(connection, ref, text)
    return Found(*row)


def list_entries(
    connection: sqlite3.Connection,
    patterns: Sequence[str] = (),
    *,
    every: bool = False,
    versions: Sequence[int] | None = None,
) -> list[Entry]:
    """Entries in the order of their names and numbers, the newest version of each name.

    Args:
        patterns: names or globs (`team/*`); none is all.
        every: all versions of each name.
        versions: rows of `versions`, instead of all.

    Cost: one pass over the small tables; no blob is read.
    """
    with one_state(connection):
        if versions is None:
            rows = connection.execute(_LISTED + "ORDER BY n.name, v.number").fetchall()
            digests = dict(connection.execute("SELECT id, digest FROM blobs"))  # the index alone
            tagged = connection.execute("SELECT version, tag FROM tags ORDER BY tag").fetchall()
        else:
            marks = ",".join("?" * len(versions))
            rows = connection.execute(
                f"{_LISTED} WHERE v.id IN ({marks}) ORDER BY n.name, v.number", versions
            ).fetchall()
            blobs = [row[3] for row in rows]
            digests = dict(connection.execute(f"SELECT id, digest FROM blobs WHERE id IN ({marks})", blobs))
            tagged = connection.execute(
                f"SELECT version, tag FROM tags WHERE version IN ({marks}) ORDER BY tag", versions
            ).fetchall()
        kinds = {row[0]: Kind(*row[1:]) for row in connection.execute("SELECT * FROM kinds")}
    tags: dict[int, tuple[str, ...]] = defaultdict(tuple)
    for version, tag in tagged:
        tags[version] += (tag,)
    if patterns:
        matches = re.compile("|".join(translate(pattern) for pattern in patterns)).match
        rows = [row for row in rows if matches(row[1])]
    if not every and versions is None:
        rows = list({row[1]: row for row in rows}.values())  # the last of each name
    shared = {
        row: (kind.method, kind.bits, kind.base_model or None, kind.base, json.loads(kind.base_fingerprint))
        for row, kind in kinds.items()
    }
    return [
        Entry(name, number, tags[row], digests[blob].hex(), size, *shared[kind], created)
        for row, name, number, blob, kind, size, created in rows
    ]


def names(connection: sqlite3.Connection) -> list[str]:
    """Every name that has a version, sorted."""
    return [
        name
        for (name,) in connection.execute(
            "SELECT name FROM names WHERE EXISTS (SELECT 1 FROM versions WHERE versions.name = names.id) ORDER BY name"
        )
    ]


def _query(ref: Ref) -> tuple[str, tuple[Any, ...]]:
    if ref.digest is not None:
        return "SELECT id, digest, NULL FROM blobs WHERE digest = ?", (ref.digest,)
    if ref.version is not None:
        return _VERSION, (ref.name, ref.version)
    if ref.tag is not None:
        return _BY_TAG, (ref.name, ref.tag)
    return _NEWEST, (ref.name,)


def _missing(connection: sqlite3.Connection, ref: Ref, text: str) -> EntryNotFoundError:
    if ref.digest is not None:
        return EntryNotFoundError(f"found no adapter {DIGEST_PREFIX}{ref.digest.hex()} in the store")
    found = list_entries(connection, [re.sub(r"([*?[])", r"[\1]", ref.name)], every=True)
    if found:
        numbers = ", ".join(str(entry.version) for entry in found[-8:])
        tags = ", ".join(sorted(tag for entry in found for tag in entry.tags)) or "none"
        return EntryNotFoundError(
            f"found no {text!r}; {ref.name!r} has the versions {numbers} and the tags: {tags}"
        )
    from difflib import get_close_matches

    near = get_close_matches(ref.name, names(connection), n=1)
    return EntryNotFoundError(
        f"found no adapter named {ref.name!r} in the store" + (f"; did you mean {near[0]!r}?" if near else "")
    )
