"""A store with three adapters, and servers over a fake engine."""

from __future__ import annotations

import pytest

from fake_engine import FakeEngine, byte_tokenizer
from live_server import live
from nolakit.http.metrics import Metrics
from nolakit.http.served import Served
from nolakit.store.store import Store
from packed_bytes import packed


@pytest.fixture
def store(tmp_path):
    """team/one with two versions, of which the first is tagged; team/two; other."""
    with Store.create(tmp_path / "adapters.nola") as made:
        made.add("team/one", packed(1), tags=["best"])
        made.add("team/one", packed(2))
        made.add("team/two", packed(3))
        made.add("other", packed(4))
        yield made


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def engine(store, metrics):
    with FakeEngine(store, byte_tokenizer(), observer=metrics) as made:
        yield made
        made.go()
        made.submitting.set()


@pytest.fixture
def served(engine):
    return Served("base", "causal-lm", engine, byte_tokenizer())


@pytest.fixture
def running(served, metrics):
    """A server without keys."""
    with live(served, metrics) as made:
        yield made


@pytest.fixture
def digest(store):
    """Digests of references."""
    return store.digest


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A server that the tests of a file share, as they change nothing."""
    with Store.create(tmp_path_factory.mktemp("shared") / "adapters.nola") as store:
        store.add("team/one", packed(1), tags=["best"])
        store.add("team/one", packed(2))
        tokenizer = byte_tokenizer()
        with (
            FakeEngine(store, tokenizer) as engine,
            live(Served("base", "causal-lm", engine, tokenizer)) as made,
        ):
            yield made
