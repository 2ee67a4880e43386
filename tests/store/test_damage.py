"""Damaged files, files that are no store, full disks and folders that may not be written."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from nolakit.errors import (
    StoreDamagedError,
    StoreError,
    StoreFormatError,
    StoreFullError,
    StoreReadOnlyError,
)
from nolakit.store.adding import New
from nolakit.store.store import Store
from packed_bytes import packed

LARGE = {"modules": 256, "count": 32}  # 64 KiB


def flip(path: Path, data: bytes, at: int = 5000) -> None:
    """Change one byte of the content `data` where it lies in the file."""
    text = path.read_bytes()
    place = text.index(data[at : at + 64])
    path.write_bytes(text[:place] + bytes([text[place] ^ 1]) + text[place + 1 :])


@pytest.fixture
def filled(tmp_path):
    """A closed store of three adapters that span pages."""
    path = tmp_path / "s.nola"
    with Store.create(path) as store:
        store.add_all([New(f"n{number}", packed(number, **LARGE)) for number in range(3)])
        store.add("copy", packed(1, **LARGE))
    return path


def test_a_torn_page_is_named_by_reads_and_by_verify_and_healed_by_adding(filled):
    flip(filled, packed(1, **LARGE), at=50_000)
    with Store(filled) as store:
        assert store.read("n0") == packed(0, **LARGE)
        for ref in ("n1", "copy"):
            with pytest.raises(StoreDamagedError, match=f"'{ref}'"):
                store.get(ref)
        told = []
        found = store.verify(progress=lambda *counts: told.append(counts))
        assert [damage.names for damage in found.damaged] == [("copy@1", "n1@1")]
        assert told == [(1, 3), (2, 3), (3, 3)]
        store.add("n1", packed(1, **LARGE))
        assert store.read("copy") == packed(1, **LARGE)
        assert store.verify().damaged == ()
        assert store.entry("n1").version == 1


def test_a_page_of_zeros(filled):
    text = bytearray(filled.read_bytes())
    place = text.index(packed(2, **LARGE)[40_000:40_064])
    start = place // 32768 * 32768
    text[start : start + 32768] = bytes(32768)
    filled.write_bytes(text)
    with Store(filled) as store:
        with pytest.raises(StoreDamagedError, match="n2"):
            store.get("n2")
        assert ("n2@1",) in [damage.names for damage in store.verify().damaged]
        assert store.read("n0") == packed(0, **LARGE)


def test_damage_after_the_first_read_is_found_where_each_is_checked(filled):
    with Store(filled, check_every=True) as every, Store(filled) as first:
        assert every.read("n1") == first.read("n1")
    flip(filled, packed(1, **LARGE))
    with Store(filled, check_every=True) as every, pytest.raises(StoreDamagedError):
        every._checked.add(bytes.fromhex(every.entry("n1").digest))
        every.read("n1")


def test_a_truncated_store(filled):
    with filled.open("rb+") as file:
        file.truncate(5 * 32768 + 100)
    with pytest.raises(StoreError), Store(filled) as store:
        assert store.verify().damaged
        store.get("n2")


def spoiled(path: Path, statement: str) -> Path:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()
    return path


@pytest.mark.parametrize("statement, said", [
    ("PRAGMA user_version = 2", "version 2; this nolakit knows version 1"),
    ("PRAGMA application_id = 7", "application_id 0x7"),
    ("CREATE TRIGGER own AFTER INSERT ON tags BEGIN DELETE FROM pins; END", "does not have"),
    ("DROP TRIGGER blobs_are_immutable", "does not have"),
])  # fmt: skip
def test_other_files_of_sqlite_are_refused(filled, statement, said):
    with pytest.raises(StoreFormatError, match=said):
        Store(spoiled(filled, statement))


@pytest.mark.parametrize(
    "content", [b"", b"text", os.urandom(100_000), packed(1)], ids=["empty", "text", "noise", "packed"]
)
def test_files_that_are_no_store_are_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    for read_only in (False, True):
        with pytest.raises(StoreFormatError):
            Store(path, read_only=read_only)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_says_so_and_writes_nothing_of_the_transaction(filled):
    with Store(filled) as store:
        connection = store._connections.here()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 3}")
        before = store.stats()
        with pytest.raises(StoreFullError, match="nothing of this transaction"):
            store.add("more", packed(10, modules=2048, count=32))
        assert store.stats() == before
        assert store.add("fits", packed(20)).version == 1
        assert store.verify().damaged == ()


LIMITED = """
import resource, sys
from nolakit.errors import StoreError
from nolakit.store import adding
from nolakit.store.store import Store
from packed_bytes import packed
adding.BATCH_ROWS = 1
store = Store(sys.argv[1])
adapters = [adding.New(f"more{number}", packed(100 + number, modules=256, count=32)) for number in range(40)]
size = store.path.stat().st_size + 40000
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
try:
    store.add_all(adapters, committed=lambda entries: print(entries[0].name, flush=True))
except StoreError as error:
    print(type(error).__name__, error)
"""


def test_a_file_that_may_not_grow_keeps_what_was_acknowledged(filled):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run(
        [sys.executable, "-c", LIMITED, str(filled)],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    *names, last = found.stdout.splitlines()
    assert last.startswith("Store"), last
    with Store(filled) as store:
        assert set(names) <= set(store.names())
        assert store.verify().damaged == ()
        assert store.read("n0") == packed(0, **LARGE)


def test_reading_only_writes_nothing(filled):
    before = filled.read_bytes()
    with Store(filled, read_only=True) as store:
        assert store.read("n1") == packed(1, **LARGE)
        assert (len(store.entries()), store.verify().damaged) == (4, ())
        for write in (lambda: store.add("a", packed(1)), lambda: store.remove("n1"), store.collect):
            with pytest.raises(StoreReadOnlyError):
                write()
    assert filled.read_bytes() == before


READ = """
import os, sys
from nolakit.store.store import Store
from packed_bytes import packed
from nolakit.errors import StoreError
from nolakit.adapter.unpacking import read_packed
read_packed(packed(0))
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    Store(sys.argv[1])
except StoreError as error:
    print(type(error).__name__)
store = Store(sys.argv[1], read_only=True)
print(store.get("a").digest == store.entry("a").digest, store.stats().versions)
"""


def test_a_folder_that_may_not_be_written(tmp_path):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Store.create(folder / "s.nola") as made:
            made.add("a", packed(1))
        (folder / "s.nola").chmod(0o444)
        folder.chmod(0o555)
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        found = subprocess.run(
            [sys.executable, "-c", READ, str(folder / "s.nola")], capture_output=True, text=True, env=environment,
            check=False,
        )  # fmt: skip
        folder.chmod(0o755)
    assert found.stdout.splitlines()[-1] == "True 1", (found.stdout, found.stderr)
    assert found.stdout.startswith("Store"), found.stdout
