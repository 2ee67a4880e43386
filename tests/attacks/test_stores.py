"""Store files that are damaged, cut, or made to harm: a typed error, or what was put in."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from attacks.limits import bounded, command_refused, listing, refused
from attacks.raw import Trap
from nolakit.errors import NolakitError, StoreError
from nolakit.store.adding import New
from nolakit.store.schema import PAGE_BYTES
from nolakit.store.store import Store
from packed_bytes import packed
from shell import run

CONTENTS = {
    "team/n@1": packed(0), "team/n@2": packed(1), "other@1": packed(2, modules=256, count=32), "copy@1": packed(1),
    "team/n:best": packed(0), "other:best": packed(2, modules=256, count=32),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("store") / "s.nola"
    with Store.create(path) as store:
        store.add_all(
            [New(ref.partition("@")[0], data) for ref, data in CONTENTS.items() if "@" in ref]
            + [New("gone", packed(5))]
        )
        store.tag("team/n@1", "best")
        store.tag("other", "best")
        store.remove("gone")
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path, whole: bytes) -> Path:
    made = tmp_path / "s.nola"
    made.write_bytes(whole)
    return made


def changed(path: Path, *statements: str) -> None:
    """The store, changed by somebody who does not ask nolakit."""
    connection = sqlite3.connect(path)
    for statement in ("PRAGMA writable_schema = ON", *statements):
        connection.execute(statement)
    connection.commit()
    connection.close()


def noticed(path: Path, *, read_only: bool = True, verify: bool = True) -> bool:
    """Whether something says that the store is damaged. If nothing does, it gives what was put in."""
    found, wrong = False, []
    try:
        with bounded(), Store(path, read_only=read_only, timeout=0.2) as store:
            found = bool(verify and store.verify().damaged)
            for use in (store.entries, store.names, store.stats, lambda: store.entries("t*", every=True)):
                try:
                    use()
                except NolakitError:
                    found = True
            for ref, data in CONTENTS.items():
                try:
                    wrong += [] if store.read(ref) == data and store.entry(ref).ref else [ref]
                except NolakitError:
                    found = True
    except StoreError:
        return True
    assert found or not wrong, f"{wrong} are others, and nothing says so"
    return found


def sqlite_of_another(path: Path) -> None:
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE blobs (id INTEGER PRIMARY KEY, digest BLOB, data BLOB)")


def giant_schema(path: Path) -> None:
    changed(path, *(f"CREATE TABLE t{number} (a)" for number in range(300)))


OTHER: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "application_id 0x0"),
    "text": (lambda path: path.write_text("no store\n" * 5000), "not an SQLite file"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps(Trap())), "not an SQLite file"),
    "another application": (sqlite_of_another, "application_id 0x0"),
    "another application's number": (lambda path: changed(path, "PRAGMA application_id = 1"), "application_id 0x1"),
    "newer": (lambda path: changed(path, "PRAGMA user_version = 2147483647"), "version 2147483647"),
    "older": (lambda path: changed(path, "PRAGMA user_version = 0"), "version 0"),
    "a trigger that deletes": (
        lambda path: changed(path, "CREATE TRIGGER t AFTER INSERT ON versions BEGIN DELETE FROM versions; END"),
        "tables, indexes or triggers",
    ),
    "a view without end": (
        lambda path: changed(
            path, "CREATE VIEW endless AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT * FROM n"
        ),
        "tables, indexes or triggers",
    ),
    "a view for a table": (
        lambda path: changed(path, "ALTER TABLE tags RENAME TO t", "CREATE VIEW tags AS SELECT * FROM t"),
        "tables, indexes or triggers",
    ),
    "a virtual table": (
        lambda path: changed(path, "CREATE VIRTUAL TABLE f USING fts5(a)"), "tables, indexes or triggers",
    ),
    "many tables": (giant_schema, "tables, indexes or triggers"),
    "schema of no SQL": (
        lambda path: changed(path, "UPDATE sqlite_master SET sql = 'CREATE nothing' WHERE name = 'tags'"),
        "malformed",
    ),
    "a directory": (lambda path: (path.unlink(), path.mkdir()), "no store"),
    "a symlink loop": (lambda path: (path.unlink(), path.symlink_to(path)), "no store"),
    "a pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "no store"),
    "nothing": (lambda path: path.unlink(), "no store"),
}  # fmt: skip


@pytest.mark.parametrize("attack", OTHER)
def test_what_is_no_store(path: Path, attack: str, place: Path) -> None:
    change, said = OTHER[attack]
    change(path)
    before = _own(path)
    for read_only in (True, False):
        refused(lambda out, ro=read_only: Store(path, read_only=ro), said, place)
    for name in ("ls", "verify", "stats"):
        command_refused("store", name, path, said=said, place=place)
    for arguments in (("get", path, "other", "-o"), ("export", path, "other", "-o")):
        command_refused("store", *arguments, place / "new" / "x", said=said, place=place)
    assert _own(path) == before


def _own(path: Path) -> list[tuple[str, int]]:
    """What lies there, without what SQLite keeps beside a file that is only read."""
    return [(name, size) for name, size in listing(path.parent) if not name.endswith(("-shm", "-wal"))]


def test_a_whole_store_passes(path: Path) -> None:
    assert not noticed(path)
    assert not noticed(path, read_only=False)


def test_stores_that_are_cut(path: Path, whole: bytes) -> None:
    pages = range(0, len(whole), PAGE_BYTES)
    for length in sorted(
        {*range(0, 120, 9), *pages, *(page + 1 for page in pages), *(page + 777 for page in pages)}
    ):
        path.write_bytes(whole[:length])
        assert noticed(path), length


def test_bits_that_flip(path: Path, whole: bytes) -> None:
    draws = random.Random(0)
    filled = [at for at, byte in enumerate(whole) if byte]
    header = range(100)
    records = [at for at in filled if not any(at in span for span in _blob_spans(whole))]
    for at in [*header, *draws.sample(records, 500), *draws.sample(filled, 150)]:
        other = bytearray(whole)
        other[at] ^= 1 << draws.randrange(8)
        path.write_bytes(other)
        noticed(path)
        for end in ("-wal", "-shm"):
            Path(f"{path}{end}").unlink(missing_ok=True)


def _blob_spans(whole: bytes) -> list[range]:
    starts = [(whole.find(data[:64]), len(data)) for data in set(CONTENTS.values())]
    return [range(start, start + min(size, PAGE_BYTES)) for start, size in starts]


@pytest.mark.parametrize("rest", ["zeros", "noise"])
def test_torn_pages(path: Path, whole: bytes, rest: str, place: Path) -> None:
    half = PAGE_BYTES // 2
    new = bytes(half) if rest == "zeros" else random.Random(1).randbytes(half)
    for page in range(0, len(whole), PAGE_BYTES):
        for start in (page, page + half):
            path.write_bytes(whole[:start] + new + whole[start + half :])
            if noticed(path):
                found = run("store", "verify", path)
                assert found.code == 3, found
                with contextlib.suppress(NolakitError), Store(path, read_only=True) as store:
                    for number, ref in enumerate(CONTENTS):
                        out = place / f"{page}-{start}-{number}"
                        with contextlib.suppress(NolakitError):
                            store.export([ref], out)
                            out.unlink()
                assert listing(place) == []
