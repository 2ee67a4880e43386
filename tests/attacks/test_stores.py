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


BEHIND: dict[str, tuple[str, ...]] = {
    "another content": ("UPDATE blobs SET data = (SELECT data FROM blobs WHERE id = 2) WHERE id = 1",),
    "a byte": ("UPDATE blobs SET data = CAST(x'00' || substr(data, 2) AS BLOB) WHERE id = 1",),
    "zeros": ("UPDATE blobs SET data = zeroblob(64000000) WHERE id = 1",),
    "empty": ("UPDATE blobs SET data = x'' WHERE id = 1",),
    "digests swapped": (
        "UPDATE blobs SET digest = randomblob(32) WHERE id = 1",
        "UPDATE versions SET blob = 2 WHERE id = 1",
    ),
    "a digest": ("UPDATE blobs SET digest = randomblob(32) WHERE id = 1",),
    "no content": ("PRAGMA foreign_keys = OFF", "DELETE FROM blobs WHERE id = 1"),
    "a tag of another name": ("UPDATE tags SET version = 3 WHERE name = 'team/n'",),
    "a tag of nothing": ("UPDATE tags SET version = 99",),
    "a name that is a path": ("UPDATE versions SET name = '../../x' WHERE id = 4",),
    "a name that is none": ("UPDATE versions SET name = x'00ff' WHERE id = 4",),
    "a size that is a text": ("UPDATE versions SET size = 'large'",),
    "a time beyond all": ("UPDATE versions SET created = 9223372036854775807",),
    "a kind of nested lists": (f"UPDATE kinds SET base_fingerprint = '{'[' * 50_000}'",),
    "a kind of no JSON": ("UPDATE kinds SET base_fingerprint = x'ff'",),
    "a kind missing": ("PRAGMA foreign_keys = OFF", "DELETE FROM kinds"),
}


@pytest.mark.parametrize("attack", BEHIND)
def test_rows_that_are_changed_behind_the_stores_back(path: Path, attack: str) -> None:
    triggers = ("blobs_are_immutable", "versions_are_immutable", "kinds_are_immutable")
    connection = sqlite3.connect(path, isolation_level=None)
    texts = connection.execute("SELECT sql FROM sqlite_master WHERE name IN (?, ?, ?)", triggers).fetchall()
    for name in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    for statement in (*BEHIND[attack], *(text for (text,) in texts)):
        connection.execute(statement)
    connection.close()
    assert noticed(path, read_only=False)
    for command in ("ls", "verify"):
        found = run("store", command, path)
        assert "Traceback" not in found.stderr and found.code in (0, 3), found


@pytest.mark.parametrize("damage", ["cut", "noise", "a frame changed"])
def test_logs_that_are_damaged_give_an_earlier_state(
    path: Path, whole: bytes, damage: str, tmp_path: Path
) -> None:
    with Store(path) as store:
        store.add("team/n", packed(7))
        log, file = Path(f"{path}-wal").read_bytes(), path.read_bytes()
    copy = tmp_path / "copy.nola"
    for at in range(0, len(log), 9973):
        noise = random.Random(at).randbytes(len(log) - at)
        other = {"cut": log[:at], "noise": log[:at] + noise}.get(damage, log[:at] + b"\x55" + log[at + 1 :])
        copy.write_bytes(file)
        Path(f"{copy}-wal").write_bytes(other)
        with bounded(), Store(copy) as store:
            assert store.verify().damaged == ()
            assert store.read("team/n") in (packed(1), packed(7))
            assert store.read("team/n@1") == packed(0)


def test_a_store_that_another_locks(path: Path, place: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        for read_only in (True, False):
            refused(
                lambda out, ro=read_only: Store(path, read_only=ro, timeout=0.2).names(),
                "another process",
                place,
            )


NAMES = [
    "../x",
    "/etc/x",
    "a\0b",
    "a\\b",
    "C:\\x",
    "a" * 70_000,
    "ä",
    "a\u202eb",
    "a\nb",
    "~/x",
    "%2e%2e/x",
    "a/../b",
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_names_that_are_paths(path: Path, name: str, tmp_path: Path, place: Path) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(packed(3))
    with Store(path) as store:
        before = store.entries(every=True)
        for use in (
            lambda out: store.add(name, packed(3)),
            lambda out: store.add("a", packed(3), tags=[name]),
            lambda out: store.import_from([file], prefix=name + "/"),
            lambda out: store.get(name),
            lambda out: store.get(f"other:{name}"),
            lambda out: store.get(f"other@{name}"),
            lambda out: store.get(f"sha256:{name}"),
            lambda out: store.tag("other", name),
            lambda out: store.tag(name, "a"),
            lambda out: store.untag(f"other:{name}"),
            lambda out: store.remove(name),
            lambda out: store.export([name], out),
        ):
            refused(use, "name|tag|version|digits|path", place)
        assert store.entries(every=True) == before
    command_refused("store", "get", path, name, "-o", place / "new" / "x", said="name|tag", place=place)
