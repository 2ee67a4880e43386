"""Many readers with one writer, in threads, processes, forks, and when a writer is killed."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nolakit.errors import StoreBusyError
from nolakit.store.adding import New
from nolakit.store.store import Store
from packed_bytes import packed

SCRIPT = Path(__file__).with_name("killed_writer.py")
READER = """
import sys
from nolakit.store.store import Store
store, reads = Store(sys.argv[1], check_every=True), 0
print("ready", flush=True)
while "last" not in store.names():
    for entry in store.entries("n[4-6]", every=True)[-5:]:
        assert store.get(entry.ref).digest == entry.digest
        reads += 1
print(reads)
"""


def test_many_threads_read_while_one_writes(store):
    store.add_all([New(f"n{number}", packed(number)) for number in range(20)])

    def read(seed: int) -> int:
        return sum(store.read(f"n{(seed + step) % 20}") == packed((seed + step) % 20) for step in range(50))

    with ThreadPoolExecutor(8) as pool:
        counts = pool.map(read, range(8))
        for number in range(20, 30):
            store.add(f"n{number}", packed(number))
        assert list(counts) == [50] * 8
    assert len(store.names()) == 30


def test_processes_read_whole_states_while_one_writes(store):
    readers = [
        subprocess.Popen([sys.executable, "-c", READER, str(store.path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for reader in readers:
        assert reader.stdout and reader.stdout.readline() == "ready\n"
    for number in range(60):
        store.add(f"n{number % 7}", packed(number))
        if number % 20 == 19:
            store.remove("n3")
            store.collect()
    store.add("last", packed(99))
    for reader in readers:
        told, _ = reader.communicate(timeout=60)
        assert reader.returncode == 0
        assert int(told) > 0


def test_a_second_writer_waits_and_then_says_why_not(store):
    store.add("a", packed(1))
    with store._connections.writing(), Store(store.path, timeout=0.05) as other:
        assert other.read("a") == packed(1)
        with pytest.raises(StoreBusyError, match="another process"):
            other.add("b", packed(2))
    assert Store(store.path).add("b", packed(2)).version == 1


def test_a_forked_process_opens_its_own(store):
    store.add("a", packed(1))
    child = os.fork()
    if child == 0:
        good = store.read("a") == packed(1) and store.add("b", packed(2)).version == 1
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert store.names() == ["a", "b"]


def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path):
    # A killed process loses nothing that it gave to the system: memory serves as well as a disk, and is quick.
    memory = Path("/dev/shm")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        found = subprocess.run(
            [sys.executable, SCRIPT, folder, "--kills", "300"], capture_output=True, text=True, env=environment,
            check=False,
        )  # fmt: skip
    assert found.returncode == 0, found.stderr
    counted = ast.literal_eval(found.stdout)
    assert counted["kills"] == 300
    assert counted["acknowledged"] > 300
