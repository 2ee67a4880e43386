"""Kills a process that writes a store at random moments, and looks at what is left.

    PYTHONPATH=tests python tests/store/killed_writer.py FOLDER --kills 5000

A writer adds, adds in bulk, removes and collects, and tells what was acknowledged; `?` stands before what it is about
to remove. After each kill the store is read: everything that was acknowledged is there, under its digest, and
nothing is damaged.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import time
from pathlib import Path

from nolakit.adapter.unpacking import read_packed
from nolakit.store.adding import New
from nolakit.store.store import Store
from packed_bytes import packed

NAMES = 24
LONGEST = 0.03  # seconds that a writer lives
FRESH = 25  # kills, and then a new store


def write(path: Path, contents: list[bytes], pipe: int, seed: int) -> None:
    """Write until killed."""
    draw = random.Random(seed)
    store = Store(path)
    if draw.random() < 0.5:  # die in checkpoints too
        store._connections.here().execute("PRAGMA wal_autocheckpoint = 8")

    def tell(entries, sign: str = "+") -> None:
        os.write(pipe, "".join(f"{sign} {one.name} {one.version} {one.digest}\n" for one in entries).encode())

    def new() -> New:
        return New(f"name-{draw.randrange(NAMES)}", draw.choice(contents))

    while True:
        action = draw.random()
        if action < 0.7:
            one = new()
            tell([store.add(one.name, one.adapter)])
        elif action < 0.85:
            store.add_all([new() for _ in range(12)], committed=tell)
        elif action < 0.95:
            doomed = draw.choice(store.entries() or [store.add("first", contents[0])])
            tell([doomed], "?")
            store.remove(doomed.ref)
        else:
            store.collect()


def kill_once(path: Path, contents: list[bytes], seed: int) -> list[str]:
    """Start a writer, kill it, and return the lines that it told."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            os.write(writing, b"!\n")
            write(path, contents, writing, seed)
        finally:
            os._exit(1)
    os.close(writing)
    os.read(reading, 2)
    time.sleep(random.Random(seed).random() * LONGEST)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reading) as told:
        return told.read().splitlines()


def check(path: Path, expected: dict[tuple[str, str], str]) -> None:
    """Everything acknowledged is there, and nothing is damaged."""
    with Store(path) as store:
        found = {(entry.name, str(entry.version)): entry.digest for entry in store.entries(every=True)}
        assert expected.items() <= found.items(), expected.items() - found.items()
        damaged = store.verify().damaged
        assert not damaged, damaged


def run(folder: Path, kills: int) -> dict[str, int]:
    """Kill so many writers. Returns what was counted."""
    contents = [packed(number) for number in range(60)]
    read_packed(contents[0])  # imports what writers would import each
    acknowledged = 0
    expected: dict[tuple[str, str], str] = {}
    for number in range(kills):
        path = folder / f"{number // FRESH}.nola"
        if number % FRESH == 0:
            Store.create(path).close()
            expected = {}
        for line in kill_once(path, contents, number):
            sign, name, version, digest = line.split()
            if sign == "?":
                expected.pop((name, version), None)
            else:
                expected[name, version] = digest
                acknowledged += 1
        check(path, expected)
    return {"kills": kills, "acknowledged": acknowledged}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=5000)
    arguments = parser.parse_args()
    print(run(arguments.folder, arguments.kills))
