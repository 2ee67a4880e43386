"""Connections to a store's file: one for each thread of each process.

synchronous = FULL      a commit is on the disk before it is acknowledged
foreign_keys = ON       nothing that is referred to can be deleted
trusted_schema = OFF    and cell_size_check: the file may come from somebody else
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from nolakit.errors import StoreError, StoreNotFoundError, StoreReadOnlyError
from nolakit.store import schema
from nolakit.store.failures import code, typed

CACHE_KIB = 8192  # pages that a thread keeps in memory
WAL_BYTES = 64 << 20  # the write-ahead log is cut back to this


class Connections:
    """Opens a connection for each thread that asks, and none over a fork."""

    def __init__(self, path: Path, *, read_only: bool, timeout: float) -> None:
        if not path.is_file():
            raise StoreNotFoundError(f"found no store at {str(path)!r}; make one with `nolakit store init`")
        self.path, self.read_only, self.timeout = path, read_only, timeout
        self._open: dict[tuple[int, int], sqlite3.Connection] = {}
        self.here()

    def here(self) -> sqlite3.Connection:
        """This thread's connection."""
        key = os.getpid(), threading.get_ident()
        connection = self._open.get(key)
        if connection is None:
            with typed(str(self.path)):
                connection = self._open[key] = self._connect()
        return connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of the block or nothing of it, on the disk when the block ends.

        Raises:
            StoreBusyError: another process was writing for the whole timeout.
            StoreFullError: no room; nothing was written.
            StoreReadOnlyError: the store was opened to be read.
        """
        connection = self.here()
        with self.begun(connection):
            yield connection
        self.commit(connection)

    @contextmanager
    def begun(self, connection: sqlite3.Connection) -> Iterator[None]:
        """A transaction that stays open behind the block, for `commit`; rolled back where the block fails."""
        if self.read_only:
            raise StoreReadOnlyError(f"found {str(self.path)!r} opened read-only; open it without read_only")
        with typed(str(self.path)):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                _roll_back(connection)
                raise

    def commit(self, connection: sqlite3.Connection) -> None:
        """Have a transaction on the disk. Raises as `writing`."""
        with typed(str(self.path)):
            try:
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise

    @contextmanager
    def another(self) -> Iterator[sqlite3.Connection]:
        """A connection beside the threads', which one thread after the other may use."""
        with typed(str(self.path)):
            connection = self._connect()
        try:
            yield connection
        finally:
            connection.close()

    def close(self) -> None:
        """Close this process's connections, of all threads."""
        for key in [key for key in self._open if key[0] == os.getpid()]:
            self._open.pop(key).close()

    def _connect(self) -> sqlite3.Connection:
        if not self.read_only:
            return self._prepared("rw")
        try:
            return self._prepared("ro")
        except sqlite3.OperationalError as error:
            # In a folder that may not be written there can be no shared memory, which WAL needs; and no writer.
            wal = Path(f"{self.path}-wal")
            if code(error) not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
            if wal.exists() and wal.stat().st_size:
                raise StoreError(
                    f"found {str(self.path)!r} with a write-ahead log in a folder that may not be written; open it "
                    "once where it may be, or copy both files there"
                ) from error
            return self._prepared("ro&immutable=1")

    def _prepared(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(self.path.absolute()))}?mode={mode}",
            uri=True, timeout=self.timeout, isolation_level=None, check_same_thread=False,
        )  # fmt: skip
        try:
            for pragma in (
                "trusted_schema = OFF", "cell_size_check = ON", "foreign_keys = ON", "synchronous = FULL",
                "secure_delete = OFF", f"cache_size = -{CACHE_KIB}", f"journal_size_limit = {WAL_BYTES}",
            ):  # fmt: skip
                connection.execute(f"PRAGMA {pragma}")
            schema.check(connection, str(self.path))
        except BaseException:
            connection.close()
            raise
        return connection


def _roll_back(connection: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):  # what failed may have rolled back
        connection.execute("ROLLBACK")


def create_file(path: Path) -> None:
    """Make an empty store. It takes its name when it is whole, and never replaces another.

    Raises:
        FileExistsError: something is there.
    """
    fresh = path.with_name(f".{path.name}-{os.getpid()}-{threading.get_ident()}")
    try:
        with typed(str(path)):
            connection = sqlite3.connect(fresh, isolation_level=None)
            try:
                schema.create(connection)
            finally:
                connection.close()
        os.link(fresh, path)
        sync_folder(path.parent)
    finally:
        for end in ("", "-wal", "-shm", "-journal"):
            Path(f"{fresh}{end}").unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have a new name in a folder on the disk."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
