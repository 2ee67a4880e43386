"""Folders and files that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        fresh.chmod(0o755)
        yield fresh
        if target.exists():
            shutil.rmtree(target)
        fresh.rename(target)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def write_file(path: str | Path, data: bytes, *, overwrite: bool = False) -> Path:
    """Write a file, which takes the name `path` once it is whole and on the disk.

    Raises:
        OutputExistsError: `path` is there and `overwrite` is not set, or it is a folder.
    """
    target = Path(path)
    if target.is_dir() or (target.exists() and not overwrite):
        raise OutputExistsError(
            f"found {str(target)!r} already there; name another output, or overwrite a file (--overwrite)"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix=f".{target.name}-", dir=target.parent, delete=False) as fresh:
        try:
            fresh.write(data)
            fresh.flush()
            os.fsync(fresh.fileno())
            os.chmod(fresh.name, 0o644)
            os.replace(fresh.name, target)
        except BaseException:
            Path(fresh.name).unlink(missing_ok=True)
            raise
    return target


def check_free(path: str | Path, *, overwrite: bool = False) -> None:
    """Raises OutputExistsError where a file or a folder with anything in it would be overwritten unasked."""
    target = Path(path)
    if target.is_file() or (target.is_dir() and any(target.iterdir()) and not overwrite):
        raise OutputExistsError(
            f"found {str(target)!r} already there; name another output, or overwrite it (--overwrite)"
        )
