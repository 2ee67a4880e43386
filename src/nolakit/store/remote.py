"""A whole store from and to object storage, a hub, or wherever fsspec reaches. The only file that imports fsspec."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nolakit.adapter.writing import check_free
from nolakit.errors import OutputExistsError, StoreDamagedError, StoreError
from nolakit.store.checking import verify
from nolakit.store.connections import Connections, sync_folder
from nolakit.store.failures import typed

Progress = Callable[[int, int], None]
# Where a file that is being written can be seen, and is given its name by a rename. Object stores and hubs show
# an object when it is whole.
RENAMING = {"file", "local", "memory", "sftp", "ssh", "smb", "hdfs", "webhdfs", "arrow_hdfs", "ftp", "dbfs"}


def publish(
    connections: Connections, url: str, *, overwrite: bool = False, progress: Progress | None = None
) -> int:
    """Put a store, as it is at one moment and without free space, where fsspec can write.

    Args:
        url: `s3://bucket/adapters.nola`, `hf://datasets/me/adapters/adapters.nola`, `file:///...`; what fsspec reads.
        progress: called with the bytes that are done, and all.

    Returns:
        The bytes of the file.

    Raises:
        OutputExistsError: something is there and `overwrite` is not set.
        StoreError: it cannot be written there.
    """
    with tempfile.TemporaryDirectory(dir=_room(connections.path)) as folder, _reached(url) as (files, there):
        if files.exists(there) and not overwrite:
            raise OutputExistsError(
                f"found {url!r} already there; name another, or overwrite it (--overwrite)"
            )
        copy = Path(folder) / "store"
        with typed(str(connections.path)):
            connections.here().execute("VACUUM INTO ?", (str(copy),))
        parts = (files.protocol,) if isinstance(files.protocol, str) else files.protocol
        renames = not RENAMING.isdisjoint(parts)
        fresh = f"{there}.{secrets.token_hex(4)}" if renames else there
        with suppress(NotImplementedError):
            files.makedirs(files._parent(there), exist_ok=True)
        try:
            files.put_file(str(copy), fresh, callback=_told(progress))
            if renames:
                files.mv(fresh, there)
        except BaseException:
            if renames and files.exists(fresh):
                files.rm(fresh)
            raise
        size = copy.stat().st_size
        if progress is not None:  # not every filesystem tells
            progress(size, size)
        return size


def fetch(
    url: str, path: Path, *, overwrite: bool = False, timeout: float = 10.0, progress: Progress | None = None
) -> None:
    """Get a published store. It takes its name when all of its digests have been found right.

    Raises:
        OutputExistsError: `path` is there and `overwrite` is not set, or is a store that is open.
        StoreError: nothing can be read there. StoreFormatError, StoreDamagedError: it is no store, or damaged.
    """
    if path.exists() and not overwrite:
        check_free(path)
    if any(Path(f"{path}{end}").exists() for end in ("-wal", "-shm")):
        raise OutputExistsError(
            f"found {str(path)!r} open in a process, or left by one that was killed; name another"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        fresh = Path(folder) / path.name
        with _reached(url) as (files, there):
            files.get_file(there, str(fresh), callback=_told(progress))
        _check(fresh, url, timeout)
        with fresh.open("rb+") as file:
            os.fsync(file.fileno())
        fresh.replace(path)
    sync_folder(path.parent)


def _check(path: Path, url: str, timeout: float) -> None:
    connections = Connections(path, read_only=False, timeout=timeout)
    try:
        with typed(url):
            connections.here().execute("PRAGMA journal_mode = WAL")
            connections.here().execute("DELETE FROM pins")  # of processes of another place
        damaged = verify(connections).damaged
    finally:
        connections.close()
    if damaged:
        raise StoreDamagedError(
            f"found {url!r} damaged in {len(damaged)} places, first {', '.join(damaged[0].names) or 'the file'}: "
            f"{damaged[0].problem}. Fetch it again, or publish it again where it is whole"
        )


@contextmanager
def _reached(url: str) -> Iterator[tuple[Any, str]]:
    """The filesystem of a URL and the path in it; what goes wrong in the block as a StoreError."""
    try:
        import fsspec
    except ImportError as error:
        raise StoreError('found no fsspec; it is installed with `pip install "nolakit[remote]"`') from error
    try:
        files, there = fsspec.url_to_fs(url)
        yield files, there
    except (OSError, ValueError, ImportError, NotImplementedError) as error:
        if isinstance(error, StoreError | OutputExistsError):
            raise
        raise StoreError(
            f"found {url!r}, which cannot be reached: {type(error).__name__}: {error}"
        ) from error


def _told(progress: Progress | None) -> Any:
    from fsspec.callbacks import DEFAULT_CALLBACK, Callback

    if progress is None:
        return DEFAULT_CALLBACK
    return Callback(hooks={"told": lambda size, value, **_: progress(value, size or value)})


def _room(path: Path) -> str | None:
    """The folder for the copy: beside the store, where there is as much room, unless that may not be written."""
    return str(path.parent) if os.access(path.parent, os.W_OK) else None
