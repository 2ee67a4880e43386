"""What every refusal keeps to: a typed error that names the problem, little time, little memory, nothing written."""

from __future__ import annotations

import json
import re
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nolakit.errors import NolakitError
from shell import run

SECONDS = 2.0
MEMORY = 512 << 20  # of address space, more than before
TYPED_CODES = (2, 3, 4)  # usage, bad input, another base


@contextmanager
def bounded() -> Iterator[None]:
    """At most SECONDS, and at most MEMORY of address space above what the process has."""
    here = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    start = time.perf_counter()
    resource.setrlimit(resource.RLIMIT_AS, (here + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    taken = time.perf_counter() - start
    assert taken < SECONDS, f"it took {taken:.1f} s"


def listing(folder: Path) -> list[tuple[str, int]]:
    """Everything below a folder, with sizes."""
    return sorted(
        (path.relative_to(folder).as_posix(), path.lstat().st_size if path.is_file() else -1)
        for path in folder.rglob("*")
    )


def refused(read: Callable[[Path], Any], said: str, place: Path) -> None:
    """`read`, given an output below `place`, raises an error of nolakit's that says so, and writes nothing."""
    before = listing(place)
    with bounded(), pytest.raises(NolakitError) as caught:
        read(place / "new" / "output")
    message = str(caught.value)
    assert re.search(said, message), message
    assert len(message) < 2000, f"a message of {len(message)} characters"
    assert listing(place) == before


def tried(read: Callable[[Path], Any], place: Path) -> bool:
    """Whether `read` goes through; else its error is typed. Within the bounds either way."""
    with bounded():
        try:
            read(place / "new" / "output")
        except NolakitError:
            return False
    return True


def command_refused(*arguments: object, said: str, place: Path) -> None:
    """A command ends with the exit code of bad input and a message, and writes nothing."""
    before = listing(place)
    with bounded():
        found = run(*arguments)
    assert found.code in TYPED_CODES, (found.code, found.stderr)
    assert re.search(said, " ".join(found.stderr.split())), found.stderr
    assert "Traceback" not in found.stderr and not found.stdout.strip(), json.dumps(found.stdout)[:200]
    assert listing(place) == before
