"""What the engine is told of, and what it never hears of."""

from __future__ import annotations

import asyncio
import logging

import pytest

from nolakit.errors import (
    BaseMismatchError,
    EntryNotFoundError,
    ModelError,
    PinnedError,
    StoreDamagedError,
    StoreNameError,
    StoreNotFoundError,
    UnsupportedError,
)
from nolakit.store.store import Store
from nolakit.vllm.resolver import Resolver
from nolakit.vllm.virtual_path import parse_virtual


@pytest.fixture
def resolver(served):
    made = Resolver(served.path, max_rank=lambda: 8)
    yield made
    made.release()


def ask(resolver: Resolver, served, name: str) -> tuple[str, str] | None:
    return asyncio.run(resolver.request(str(served.base), name))


def test_the_answer_names_the_content(resolver, served):
    path = parse_virtual(resolver.answer(str(served.base), "team/b").path)
    assert (path.store, path.digest, path.name) == (served.path, served.store.digest("team/b"), "team/b")
    assert ask(resolver, served, "team/b") == ("team/b", str(path))


def test_new_content_under_a_name_is_another_path_and_another_name(resolver, served, adapters):
    before = ask(resolver, served, "a")
    served.store.add("a", adapters(num_basis=8, seed=2))
    after = ask(resolver, served, "a")
    assert before and after and before[0] == "a" != after[0] and before[1] != after[1]
    assert served.store.digest("a") in after[0]
    assert ask(resolver, served, "a@1") == ("a@1", f"{before[1]}@1")


@pytest.mark.parametrize("name, error", [
    ("/etc/passwd", StoreNameError), ("../a", StoreNameError), ("./a", StoreNameError), ("a/../b", StoreNameError),
    ("/nola:/s@" + "0" * 64 + "/a", StoreNameError), ("", StoreNameError), ("c", EntryNotFoundError),
    ("a@9", EntryNotFoundError), ("sha256:" + "0" * 64, EntryNotFoundError),
])  # fmt: skip
def test_names_that_mean_nothing(resolver, served, name, error):
    with pytest.raises(error):
        resolver.answer(str(served.base), name)
    assert ask(resolver, served, name) is None


def test_what_was_answered_is_not_deleted(resolver, served):
    resolver.answer(str(served.base), "a")
    resolver.answer(str(served.base), "a@1")
    assert len(served.store.stats().pins) == 1
    with pytest.raises(PinnedError, match="'vLLM'"):
        served.store.remove("a")
    served.store.remove("team/b")
    resolver.release()
    assert len(served.store.remove("a")) == 1


def test_what_was_refused_is_not_pinned(resolver, served, adapters):
    served.store.add("large", adapters(r=12, num_basis=8))
    assert ask(resolver, served, "large") is None
    assert served.store.stats().pins == []


REFUSED = {
    "rank 12.*engine takes 8": ("nola", {"r": 12, "num_basis": 8}),
    "full rank": ("pranc", {"num_basis": 8}),
    "store_frozen=True": ("lora_xs", {}),
    "lm_head trained whole": ("nola", {"num_basis": 8, "modules_to_save": ["lm_head"]}),
    "replaces the weights|full rank": ("mora", {}),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_vllm_cannot_serve(resolver, served, adapters, reason, caplog):
    method, options = REFUSED[reason]
    served.store.add("c", adapters(method, **options))
    with pytest.raises(UnsupportedError, match=reason):
        resolver.answer(str(served.base), "c")
    with caplog.at_level(logging.WARNING, "vllm.nolakit"):
        assert ask(resolver, served, "c") is None
    assert "adapter 'c' refused: found" in caplog.text


@pytest.mark.parametrize("method, options", [
    ("lora_xs", {"store_frozen": True}), ("melora", {"r": 1}), ("lora_fa", {}), ("vera", {}),
])  # fmt: skip
def test_other_methods_are_served(resolver, served, adapters, method, options):
    served.store.add("c", adapters(method, **options))
    assert resolver.answer(str(served.base), "c").digest == served.store.digest("c")


@pytest.mark.parametrize("options", [{"hidden": 24}, {"seed": 3}], ids=["shapes", "weights"])
def test_an_adapter_of_another_base(resolver, served, adapters, other_base, options):
    served.store.add("c", adapters(over=other_base(**options), num_basis=8))
    with pytest.raises(BaseMismatchError):
        resolver.answer(str(served.base), "c")
    assert ask(resolver, served, "c") is None


def test_a_base_that_fits_one_kind_is_checked_for_the_next(resolver, served, adapters):
    resolver.answer(str(served.base), "a")
    served.store.add("c", adapters(num_basis=8, base_model_prefix="model", target_modules=["v_proj"]))
    assert resolver.answer(str(served.base), "c")


def test_a_base_without_files(resolver, served, tmp_path):
    with pytest.raises(ModelError, match="NOLAKIT_VLLM_BASE"):
        resolver.answer(str(tmp_path / "none"), "a")
    other = Resolver(served.path, base=str(served.base))
    assert other.answer("a-name-of-the-engine's", "a")
    other.release()


def test_a_corrupted_blob(resolver, served, corrupted):
    corrupted()
    with pytest.raises(StoreDamagedError):
        resolver.answer(str(served.base), "a")
    assert ask(resolver, served, "a") is None


def test_a_store_that_vanishes_and_one_that_takes_its_place(resolver, served, adapters, tmp_path):
    resolver.answer(str(served.base), "a")
    for end in ("", "-wal", "-shm"):
        served.path.with_name(served.path.name + end).rename(tmp_path / f"moved.nola{end}")
    with pytest.raises(StoreNotFoundError):
        resolver.answer(str(served.base), "a")
    with Store.create(served.path) as other:
        digest = other.add("a", adapters(num_basis=8, seed=5)).digest
        other.add("b", adapters(num_basis=8))
        assert resolver.answer(str(served.base), "a").digest == digest
        resolver.answer(str(served.base), "b")  # what was pinned in the first is pinned in the second
        assert len(other.stats().pins) == 2


def test_what_nobody_thought_of_refuses_one_request(resolver, served, monkeypatch, caplog):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("nolakit.vllm.resolver.check_servable", broken)
    with caplog.at_level(logging.ERROR, "vllm.nolakit"):
        assert ask(resolver, served, "a") is None
    assert "ZeroDivisionError" in caplog.text


def test_a_store_that_may_not_be_written_is_served_without_pins(served, caplog):
    read_only = Store(served.path, read_only=True)
    resolver = Resolver(served.path)
    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.WARNING, "vllm.nolakit"):
        patch.setattr("nolakit.vllm.resolver.open_store", lambda _: read_only)
        assert resolver.answer(str(served.base), "a") and resolver.answer(str(served.base), "team/b")
    assert caplog.text.count("may not be written") == 1
    assert served.store.stats().pins == []
    resolver.release()
    read_only.close()
