"""Adapters as PEFT folders in memory-backed storage, for engines whose loading is not as it was.

A folder is never deleted while this process lives: vLLM reads it again after an eviction, and ends where it is gone.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from nolakit.adapter.packed import PackedAdapter
from nolakit.errors import AdapterError
from nolakit.export.lora import write_lora
from nolakit.vllm.factors import config_of, tensors_of

MEMORY = Path("/dev/shm")
LOCK = "in-use"


class Folders:
    """A folder of this process below `parent`, and in it one of each content, named by its digest. One thread at a
    time.

    What processes that have ended left there is deleted first: each holds a lock for as long as it lives.
    """

    def __init__(self, parent: Path | None = None) -> None:
        self._parent = parent or default_parent()
        self._root: Path | None = None

    def folder_of(self, adapter: PackedAdapter) -> Path:
        """The PEFT folder of an adapter, made at the first call. Raises as `expand`; AdapterError where there is no
        room."""
        folder = self._own() / adapter.digest
        if not folder.exists():
            try:
                write_lora(config_of(adapter), tensors_of(adapter), folder, overwrite=False)
            except OSError as error:
                raise AdapterError(
                    f"found no room for the factors of {adapter.name!r} in {str(folder.parent)!r}: {error}; give the "
                    "engine more memory-backed storage, or another folder"
                ) from error
        return folder

    def _own(self) -> Path:
        if self._root is not None:
            return self._root
        try:
            self._parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            for left in self._parent.iterdir():
                _delete_if_ended(left)
            root = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=self._parent))
            self._lock = os.open(root / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise AdapterError(
                f"found no way to make a folder in {str(self._parent)!r}: {error}; name one that may be written, best "
                "in memory-backed storage"
            ) from error
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        atexit.register(shutil.rmtree, root, ignore_errors=True)
        self._root = root
        return root


def default_parent() -> Path:
    """A folder of this user in memory-backed storage, else among the temporary files."""
    where = MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    return where / f"nolakit-vllm-{os.getuid()}"


def _delete_if_ended(left: Path) -> None:
    with suppress(OSError):
        lock = os.open(left / LOCK, os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left)
        finally:
            os.close(lock)
