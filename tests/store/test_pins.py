"""What is in use is not deleted."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from nolakit.errors import EntryNotFoundError, PinnedError
from nolakit.store.store import Store
from packed_bytes import packed

HOLD = """
import sys
from nolakit.store.store import Store
with Store(sys.argv[1]).pin("a", who="server"):
    print("pinned", flush=True)
    sys.stdin.readline()
"""


def test_a_pin_holds_until_it_is_released(store):
    store.add("a", packed(1))
    with store.pin("a", who="me") as ref, store.pin("a:latest"):
        with pytest.raises(PinnedError, match="'me'"):
            store.remove("*")
        assert "me" in {pin.who for pin in store.stats().pins}
        assert store.read(ref) == packed(1)
    store.remove("a")
    assert (store.collect().blobs, store.stats().pins) == (1, [])


def test_pinned_content_outlives_its_name(store):
    store.add("a", packed(1))
    connection = store._connections.here()
    with store.pin("a") as ref:
        connection.execute("DELETE FROM versions")  # as a store whose pin came between would have it
        assert store.collect().blobs == 0
        assert store.read(ref) == packed(1)
        assert store.stats().stored == len(packed(1))
    assert store.collect().blobs == 1


def test_pins_that_are_released_together(store):
    store.add("a", packed(1))
    store.add("b", packed(2))
    pinning = store.pinning(who="server")
    assert pinning.add("a") == pinning.add("a@1") == f"sha256:{store.digest('a')}"
    with pytest.raises(EntryNotFoundError):
        pinning.add("c")
    assert [pin.who for pin in store.stats().pins] == ["server"]
    store.remove("b")
    with pytest.raises(PinnedError, match="'server'"):
        store.remove("a")
    pinning.release()
    pinning.release()
    assert store.stats().pins == []
    pinning.add("a")
    assert len(store.stats().pins) == 1


@pytest.mark.parametrize("end", ["released", "killed"])
def test_a_pin_of_another_process_holds_until_that_ends(store, end):
    store.add("a", packed(1))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout and holder.stdin
        assert holder.stdout.readline() == "pinned\n"
        with pytest.raises(PinnedError, match=f"process {holder.pid}"):
            store.remove("a")
        if end == "killed":
            holder.kill()
        else:
            holder.stdin.write("\n")
    store.remove("a")
    assert store.collect().blobs == 1


def test_a_pin_ends_with_its_time_and_with_the_machine(store, monkeypatch):
    store.add("a", packed(1))
    with store.pin("a", seconds=100):
        now = time.time()
        monkeypatch.setattr("time.time", lambda: now + 99)
        with pytest.raises(PinnedError):
            store.remove("a")
        monkeypatch.setattr("time.time", lambda: now + 102)
        assert store.stats().pins == []
        store.remove("a")
    store.add("a", packed(1))
    with store.pin("a"):
        monkeypatch.setattr("nolakit.store.pins._here", lambda: ("another boot", "pid:[1]"))
        assert store.stats().pins == []
        with Store(store.path) as other:
            other.remove("a")
            assert other.collect().blobs == 1
