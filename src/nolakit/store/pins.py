"""Pins: what is in use, which nothing may delete.

A pin is a row that names a process. It holds until it is released, until its time is over, or until its process is
known to have ended: one of an earlier start of the machine, or of this process namespace and no longer there.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nolakit.errors import PinnedError


@dataclass(frozen=True)
class Pin:
    """A pin as a listing shows it; `until` is seconds since 1970, None without an end."""

    id: int
    digest: str
    pid: int
    until: int | None
    who: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def insert_pin(connection: sqlite3.Connection, blob: int, who: str, seconds: float | None) -> int:
    """Pin a blob for this process."""
    until = None if seconds is None else int(time.time() + seconds) + 1
    pid = os.getpid()
    row = connection.execute(
        "INSERT INTO pins (blob, boot, space, pid, started, until, who) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (blob, *_here(), pid, _started(pid) or 0, until, who or Path(sys.argv[0] or "python").name),
    ).lastrowid
    assert row is not None
    return row


def drop_ended(connection: sqlite3.Connection) -> None:
    """Delete the pins that hold nothing any more."""
    rows = connection.execute("SELECT id, boot, space, pid, started, until FROM pins").fetchall()
    ended = [(row[0],) for row in rows if not _holds(*row[1:])]
    connection.executemany("DELETE FROM pins WHERE id = ?", ended)


def list_pins(connection: sqlite3.Connection) -> list[Pin]:
    """The pins that hold."""
    rows = connection.execute(
        "SELECT p.id, b.digest, p.pid, p.until, p.who, p.boot, p.space, p.started FROM pins p "
        "JOIN blobs b ON b.id = p.blob ORDER BY p.id"
    ).fetchall()
    return [
        Pin(row, digest.hex(), pid, until, who)
        for row, digest, pid, until, who, boot, space, started in rows
        if _holds(boot, space, pid, started, until)
    ]


def check_unpinned(connection: sqlite3.Connection, blob: int, what: str) -> None:
    """Raises PinnedError where a blob is in use."""
    row = connection.execute("SELECT pid, who FROM pins WHERE blob = ? LIMIT 1", (blob,)).fetchone()
    if row is not None:
        raise PinnedError(
            f"found {what!r} in use by {row[1]!r} (process {row[0]}); it can be deleted when that has ended or "
            "released it"
        )


def _holds(boot: str, space: str, pid: int, started: int, until: int | None) -> bool:
    if until is not None and until <= time.time():
        return False
    here = _here()
    if boot != here[0]:
        return False
    if space != here[1]:
        return True
    found = _started(pid)
    return found is not None and (found == started or 0 in (found, started))


@cache
def _here() -> tuple[str, str]:
    """This start of the machine, and this namespace of process numbers; empty where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return boot, os.readlink("/proc/self/ns/pid")
    except OSError:
        return "", ""


def _started(pid: int) -> int | None:
    """When a process started, in the system's clock ticks; None where there is none, 0 where it is not told."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return None
    except OSError:
        return 0
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        return 0
    return 0
