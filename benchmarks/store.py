"""Measures a store of ten thousand adapters beside a folder of files and LMDB, and writes the table of docs/store.md.

    .venv/bin/python benchmarks/store.py              # about two minutes, and 7 GB of disk
    .venv/bin/python benchmarks/store.py --report     # the table again, from the rows

Every way holds the same packed adapters and reads them with the same parser. Each measurement is a row of
benchmarks/store.jsonl. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import lmdb
from rich.console import Console

from interleaved import interleaved
from machine import processor
from nolakit import Store, read_packed
from nolakit.store.adding import New
from store_adapters import large, small
from store_report import write_table

ROWS = Path(__file__).with_name("store.jsonl")
COUNT, LARGE_COUNT, ROUNDS, READS = 10_000, 200, 3, 3000
NAMES = [f"adapter-{number:05d}" for number in range(COUNT)]
console = Console(stderr=True)


def add_to_store(path: Path, adapters: list[bytes]) -> None:
    with Store.create(path / "adapters.nola") as store:
        store.add_all(New(name, data) for name, data in zip(NAMES, adapters, strict=False))


def add_to_folder(path: Path, adapters: list[bytes]) -> None:
    """As safe as the others: each file and then the folder on the disk."""
    for name, data in zip(NAMES, adapters, strict=False):
        read_packed(data)
        with (path / f"{name}.safetensors").open("wb") as file:
            file.write(data)
    os.sync()


def add_to_lmdb(path: Path, adapters: list[bytes]) -> None:
    with lmdb.open(str(path / "lmdb"), map_size=1 << 33) as database:
        for start in range(0, len(adapters), 500):
            with database.begin(write=True) as transaction:
                for name, data in zip(
                    NAMES[start : start + 500], adapters[start : start + 500], strict=False
                ):
                    read_packed(data)
                    transaction.put(name.encode(), data)


WAYS = {"nolakit": add_to_store, "folder": add_to_folder, "lmdb": add_to_lmdb}


def measure(folder: Path) -> dict[str, dict[str, list[float]]]:
    """Seconds by measurement and way."""
    adapters = [small(number) for number in range(COUNT)]
    paths = {way: [folder / f"{way}-{number}" for number in range(ROUNDS)] for way in WAYS}
    for path in (path for some in paths.values() for path in some):
        path.mkdir()
    left = {way: iter(some) for way, some in paths.items()}
    found = {
        "add 10,000": _timed(
            {way: lambda way=way: WAYS[way](next(left[way]), adapters) for way in WAYS}, ROUNDS, warm_up=0
        )
    }
    for way, some in paths.items():
        some[-1].rename(folder / way)
    store = Store(folder / "nolakit" / "adapters.nola")
    every = Store(folder / "nolakit" / "adapters.nola", check_every=True)
    database = lmdb.open(str(folder / "lmdb" / "lmdb"), map_size=1 << 33)
    draw = random.Random(0)

    def from_lmdb(name: str, check: bool):
        with database.begin(buffers=False) as transaction:
            return read_packed(transaction.get(name.encode()), check_digest=check)

    def from_file(name: str, check: bool):
        return read_packed((folder / "folder" / f"{name}.safetensors").read_bytes(), check_digest=check)

    readers = {
        "read and parse": {
            "nolakit": lambda name: store.get(name),
            "folder": lambda name: from_file(name, False),
            "lmdb": lambda name: from_lmdb(name, False),
        },
        "read, check the digest and parse": {
            "nolakit": lambda name: every.get(name),
            "folder": lambda name: from_file(name, True),
            "lmdb": lambda name: from_lmdb(name, True),
        },
    }
    assert all(len({read(NAMES[7]).digest for read in ways.values()}) == 1 for ways in readers.values())
    for name in NAMES:  # warm: every page in the system's memory, every digest checked once
        store.get(name), from_file(name, False), from_lmdb(name, False)
    for title, ways in readers.items():
        found[title] = _timed(
            {way: lambda read=read: read(draw.choice(NAMES)) for way, read in ways.items()}, READS
        )
    found["list 10,000"] = _timed(
        {
            "nolakit": lambda: store.entries(),
            "folder": lambda: sorted(os.listdir(folder / "folder")),
            "lmdb": lambda: _keys(database),
        },
        15,
    )
    command = [sys.executable, "-m", "nolakit.cli.app", "store", "ls", str(store.path)]
    found["open"] = _timed({"nolakit": lambda: Store(store.path).close()}, 50)
    found["`nolakit store ls`, the process"] = _timed(
        {"nolakit": lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True)}, 5
    )
    database.close()
    return found


def sizes(folder: Path) -> dict[str, float]:
    """Bytes of a packed 70B adapter of 8 bits, and of a store's file of 10,000: the pages that contents of such take,
    and the other pages of a store of 10,000 names."""
    with Store.create(folder / "large.nola") as store:
        store.add_all(New(NAMES[number], large(number)) for number in range(LARGE_COUNT))
        packed = store.entry(NAMES[0]).size
    contents, _ = _pages(folder / "large.nola", "pagetype != 'internal'")
    _, others = _pages(folder / "nolakit" / "adapters.nola", "pagetype != 'internal'")
    inner = 4 * 32768  # above 10,000 pages of contents: 9 bytes each, in 3 pages and a root
    whole = contents / LARGE_COUNT * COUNT + others + inner
    return {"packed": packed, "stored": whole / COUNT, "file_of_10000": whole}


def _pages(path: Path, which: str) -> tuple[int, int]:
    """Bytes of some pages of the contents, and of all others."""
    connection = sqlite3.connect(path)
    query = f"SELECT sum(pgsize) FROM dbstat WHERE name = 'blobs' AND {which}"
    (contents,) = connection.execute(query).fetchone()
    connection.close()
    return contents, path.stat().st_size - contents


def _keys(database) -> list[bytes]:
    with database.begin() as transaction:
        return list(transaction.cursor().iternext(values=False))


def _timed(candidates, rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    timings = interleaved(candidates, rounds=rounds, warm_up=warm_up)
    return {way: [round(value, 7) for value in timing.seconds] for way, timing in timings.items()}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--report", action="store_true", help="write the table from the rows, measure nothing"
    )
    parser.add_argument(
        "--folder", type=Path, help="on the disk to be measured; default the system's temporary one"
    )
    arguments = parser.parse_args()
    if not arguments.report:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name, console.status("measuring"):
            row = {"seconds": measure(Path(name)), "bytes": sizes(Path(name)), "adapter_bytes": len(small(0))}
        row |= {
            "device": processor(),
            "versions": {each: version(each) for each in ("nolakit", "lmdb", "safetensors")},
        }
        with ROWS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    write_table(ROWS)


if __name__ == "__main__":
    main()
