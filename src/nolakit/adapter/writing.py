"""Folders and files that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nolakit.errors import OutputExistsError


@contextmanager
def new_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A fresh folder to write into, that takes the name `path` when the block ends without an error.

    Raises:
        OutputExistsError: `path` is there and `overwrite` is not set.
    """
    target = Path(path)
    check_free(target, overwrite=overwrite)
    made = _make_parents(target)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        fresh.chmod(0o755)
        yield fresh
        if target.exists():
            shutil.rmtree(target)
        fresh.rename(target)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        _remove_empty(made)
        raise


@contextmanager
def new_file(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A fresh file to write, that takes the name `path` when the block ends without an error, and is on the disk then.

    Raises:
        OutputExistsError: `path` is there and `overwrite` is not set.
    """
    target = Path(path)
    if target.is_dir() or (target.exists() and not overwrite):
        check_free(target)
    made = _make_parents(target)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    fresh = Path(name)
    os.close(handle)
    try:
        fresh.chmod(0o644)
        yield fresh
        with fresh.open("rb+") as file:
            os.fsync(file.fileno())
        fresh.replace(target)
    except BaseException:
        fresh.unlink(missing_ok=True)
        _remove_empty(made)
        raise


def check_free(path: str | Path, *, overwrite: bool = False) -> None:
    """Raises OutputExistsError where a file or a folder with anything in it would be overwritten unasked."""
    target = Path(path)
    if target.is_file() or (target.is_dir() and any(target.iterdir()) and not overwrite):
        raise OutputExistsError(
            f"found {str(target)!r} already there; name another output, or overwrite it (--overwrite)"
        )


def _make_parents(target: Path) -> list[Path]:
    """The folders above an output. Returns those that were not there, the innermost first."""
    missing = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    return missing


def _remove_empty(folders: list[Path]) -> None:
    with suppress(OSError):  # somebody else has written there meanwhile
        for folder in folders:
            folder.rmdir()
