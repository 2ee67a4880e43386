"""Names, versions, tags, references, removal and collection."""

from __future__ import annotations

import sqlite3

import pytest
import torch

import nolakit
from handmade_adapters import write_adapter
from nolakit.errors import (
    AdapterError,
    EntryNotFoundError,
    OutputExistsError,
    StoreNameError,
    StoreNotFoundError,
    UnsupportedError,
)
from nolakit.store.adding import New
from nolakit.store.names import parse_ref
from packed_bytes import packed


def test_versions_tags_and_digests_mean_what_was_added(store):
    first, second = packed(1), packed(2)
    one = store.add("team/task", first, tags=["best"])
    two = store.add("team/task", second)
    assert (one.ref, one.tags, one.size, one.bits, one.method) == (
        "team/task@1",
        ("best",),
        len(first),
        32,
        "nola",
    )
    assert store.read("team/task") == store.read("team/task@2") == store.read("team/task:latest") == second
    assert (
        store.read("team/task@1")
        == store.read("team/task:best")
        == store.read(f"sha256:{one.digest}")
        == first
    )
    assert store.entry(f"sha256:{two.digest}").ref == two.ref
    store.tag("team/task", "best")
    assert store.read("team/task:best") == second
    store.untag("team/task:best")
    with pytest.raises(EntryNotFoundError, match=r"versions 1, 2 and the tags: none"):
        store.read("team/task:best")
    with pytest.raises(EntryNotFoundError, match="did you mean 'team/task'"):
        store.read("team/tesk")


def test_a_folder_is_packed_and_gives_the_same_factors(store, tmp_path):
    fingerprint = {"modules": 3, "structure": "0123456789abcdef", "sketch": {}}
    folder = write_adapter(tmp_path / "adapter", base_fingerprint=fingerprint)
    entry = store.add("adapter", folder)
    assert (entry.base_model, entry.base, entry.base_fingerprint) == (
        "some/base",
        "0123456789abcdef",
        fingerprint,
    )
    found, expected = nolakit.expand(store.get("adapter")), nolakit.expand(folder)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], value) for key, value in expected.items())
    assert store.add("small", folder, bits=8).bits == 8
    assert store.add("smaller", store.read("adapter"), bits=4).bits == 4


def test_adding_again_changes_nothing_and_equal_content_is_held_once(store):
    entries = store.add_all([New(name, packed(number)) for name in "ab" for number in (1, 1, 2, 1)])
    assert [entry.ref for entry in entries] == ["a@1", "a@1", "a@2", "a@3", "b@1", "b@1", "b@2", "b@3"]
    stats = store.stats()
    assert (stats.names, stats.versions, stats.blobs) == (2, 6, 2)
    assert stats.shared == 4 * len(packed(1))


def test_a_number_is_never_used_again(store):
    for number in (1, 2):
        store.add("a", packed(number))
    store.tag("a@2", "second")
    store.tag("a@1", "first")
    store.remove("a@2")
    assert store.entry("a").version == 1
    assert store.stats().tags == 1
    assert store.entry("a:first").version == 1
    store.remove("a")
    assert store.names() == []
    assert store.add("a", packed(3)).version == 3


def test_what_is_refused_leaves_the_store_as_it_was(store, tmp_path):
    for name in (
        "",
        "../up",
        "a//b",
        "/a",
        ".hidden",
        "a/.b",
        "-o",
        "a b",
        "a@1",
        "a:b",
        "x" * 201,
        "sha256",
        "a..b",
    ):
        with pytest.raises(StoreNameError):
            store.add(name, packed(1))
    for tag in ("", "3", "latest", "a/b", "x" * 65):
        with pytest.raises(StoreNameError):
            store.add("a", packed(1), tags=[tag])
    with pytest.raises(AdapterError):
        store.add("a", packed(1)[:-1])
    with pytest.raises(UnsupportedError):
        store.add("a", write_adapter(tmp_path / "lora", peft_type="LORA"))
    for ref in ("a@0", "a@x", "sha256:12", "a:1"):
        with pytest.raises(StoreNameError):
            parse_ref(ref)
    stats = store.stats()
    assert (stats.versions, stats.blobs) == (0, 0)


def test_what_was_committed_before_a_refusal_stays(store, monkeypatch):
    monkeypatch.setattr("nolakit.store.adding.BATCH_ROWS", 2)
    told = []
    with pytest.raises(StoreNameError, match="'no/'"):
        store.add_all([New(name, packed(1)) for name in ("a", "b", "c", "no/")], committed=told.extend)
    assert [entry.name for entry in told] == store.names() == ["a", "b"]


def test_globs_and_listings(store):
    store.add_all([New(f"team/{name}", packed(number)) for number in (1, 2) for name in ("x", "y")])
    store.add("other", packed(3), tags=["z", "a"])
    assert [entry.ref for entry in store.entries("team/*")] == ["team/x@2", "team/y@2"]
    assert [entry.ref for entry in store.entries("*/x", "other", every=True)] == [
        "other@1",
        "team/x@1",
        "team/x@2",
    ]
    assert store.entries("team/[") == []
    assert store.entry("other").tags == ("a", "z")


def test_removed_content_is_collected_and_shared_content_stays(store):
    store.add_all([New("a", packed(1)), New("b", packed(1)), New("old/c", packed(2), ["keep"])])
    assert [entry.ref for entry in store.remove("a", "old/*")] == ["a@1", "old/c@1"]
    assert store.collect(dry_run=True).blobs == 1
    told = []
    found = store.collect(progress=lambda *counts: told.append(counts))
    assert (found.blobs, found.bytes, told) == (1, len(packed(2)), [(1, 1)])
    assert store.read("b") == packed(1)
    with pytest.raises(EntryNotFoundError):
        store.remove("a")
    for ref in ("b:best", "sha256:" + "0" * 64):
        with pytest.raises(StoreNameError):
            store.remove(ref)


def test_compacting_gives_the_space_back(store):
    store.add_all([New(f"n{number}", packed(number, modules=512, count=32)) for number in range(8)])
    store.collect(compact=True)
    before = store.path.stat().st_size
    store.remove("n[1-7]")
    store.collect()
    assert store.stats().free > 7 * 100_000
    store.collect(compact=True)
    assert store.path.stat().st_size < before - 7 * 100_000
    assert store.stats().free == 0
    assert store.read("n0") == packed(0, modules=512, count=32)


def test_nothing_stored_can_be_changed(store):
    store.add("a", packed(1))
    connection = store._connections.here()
    for statement in (
        "UPDATE blobs SET data = x'00'",
        "UPDATE versions SET number = 9",
        "UPDATE kinds SET bits = 8",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="never changed"):
            connection.execute(statement)
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        connection.execute("DELETE FROM blobs")
    assert connection.execute("PRAGMA page_size").fetchone() == (32768,)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_store_is_made_once_and_never_by_opening(tmp_path):
    path = tmp_path / "new" / "s.nola"
    with pytest.raises(StoreNotFoundError, match="store init"):
        nolakit.Store(path)
    nolakit.Store.create(path).close()
    nolakit.Store(path).add("a", packed(1))
    with pytest.raises(OutputExistsError):
        nolakit.Store.create(path)
    assert nolakit.Store(path).names() == ["a"]


@pytest.mark.parametrize("fingerprint", [1, ["a"], {"sketch": {"a": {"b": {}}}}, {"sketch": [[[]]]}])
def test_a_fingerprint_that_is_none_is_refused(store, fingerprint):
    with pytest.raises(AdapterError, match="base_fingerprint"):
        store.add("a", packed(1, base_fingerprint=fingerprint))
    assert store.names() == []


def test_a_listing_holds_nothing_that_a_terminal_obeys(store):
    entry = store.add("a", packed(1, base_model_name_or_path="some\x1b[31m/base\n"))
    assert entry.base_model == "some\N{REPLACEMENT CHARACTER}[31m/base\N{REPLACEMENT CHARACTER}"


def test_a_name_beside_the_wrong_one_is_suggested_among_many(store):
    store.add_all(New(f"team/{number:04d}", packed(1)) for number in range(1200))
    with pytest.raises(EntryNotFoundError, match="did you mean 'team/0700'"):
        store.get("team/0700x")
