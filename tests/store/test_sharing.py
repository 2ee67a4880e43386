"""Import, export, bundles, and stores that travel through fsspec."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import fsspec
import pytest
from safetensors import safe_open

import nolakit
from handmade_adapters import write_adapter
from nolakit.errors import (
    AdapterError,
    AdapterNotFoundError,
    EntryNotFoundError,
    OutputExistsError,
    StoreDamagedError,
    StoreError,
    StoreFormatError,
    StoreNameError,
)
from nolakit.store.adding import New
from nolakit.store.bundles import read_manifest
from nolakit.store.store import Store
from packed_bytes import packed


@pytest.fixture
def other(tmp_path):
    with Store.create(tmp_path / "other.nola") as made:
        yield made


def test_folders_files_and_globs_are_imported_under_their_names(store, tmp_path):
    runs = tmp_path / "runs"
    (runs / "team").mkdir(parents=True)
    write_adapter(runs / "team" / "task")
    (runs / "small.safetensors").write_bytes(packed(1))
    told = []
    store.import_from([runs], progress=lambda *counts: told.append(counts))
    assert (store.names(), told) == (["small", "team/task"], [(2, 2)])
    store.import_from([f"{runs}/*.safetensors", runs / "team" / "task"], prefix="again/", bits=8)
    assert store.names() == ["again/small", "again/task", "small", "team/task"]
    assert {entry.bits for entry in store.entries("again/*")} == {8}
    (runs / "bad name.safetensors").write_bytes(packed(2))
    with pytest.raises(StoreNameError, match="bad name"):
        store.import_from([runs])
    for nothing in (runs / "none", f"{runs}/*.bin"):
        with pytest.raises(AdapterNotFoundError):
            store.import_from([nothing])


def test_one_adapter_is_exported_as_its_packed_file(store, tmp_path):
    store.add("a", packed(1))
    store.export(["a"], tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == packed(1)
    assert nolakit.open_adapter(tmp_path / "a.safetensors").digest == store.entry("a").digest
    with pytest.raises(OutputExistsError):
        store.export(["a"], tmp_path / "a.safetensors")
    with pytest.raises(EntryNotFoundError):
        store.export(["b*"], tmp_path / "b.safetensors")
    assert not (tmp_path / "b.safetensors").exists()


def test_a_bundle_gives_back_names_tags_and_content(store, other, tmp_path):
    store.add_all(
        [
            New("x/a", packed(1), ["best"]),
            New("x/b", packed(2)),
            New("x/copy", packed(1)),
            New("y", packed(3)),
        ]
    )
    bundle, told = tmp_path / "x.safetensors", []
    store.export(["x/*"], bundle, progress=lambda *counts: told.append(counts))
    assert told == [(1, 2), (2, 2)]
    with safe_open(bundle, framework="numpy") as file:
        assert len(list(file.keys())) == 4
    other.import_from([bundle], prefix="in/")
    assert other.names() == ["in/x/a", "in/x/b", "in/x/copy"]
    assert other.read("in/x/a:best") == other.read("in/x/copy") == packed(1)


def test_damaged_bundles_are_refused(store, other, tmp_path):
    store.add_all([New("a", packed(1)), New("b", packed(2))])
    bundle = tmp_path / "all.safetensors"
    store.export([], bundle)
    good = bundle.read_bytes()
    for bad in (
        good[:-1],
        good.replace(b'"name":"a"', b'"name":"z"'),
        good.replace(packed(2)[-40:], bytes(40)),
        good.replace(b'"version":1', b'"version":9'),
        good.replace(packed(2), packed(1)),
    ):
        assert bad != good
        bundle.write_bytes(bad)
        with pytest.raises(AdapterError):
            other.import_from([bundle])
        assert other.names() == []
    bundle.write_bytes(good)
    assert [one.name for one in read_manifest(bundle)] == ["a", "b"]


@pytest.mark.parametrize("where", ["memory", "local"])
def test_a_store_travels_whole(store, tmp_path, where):
    url = "memory://bucket/a/s.nola" if where == "memory" else f"file://{tmp_path}/there/s.nola"
    store.add_all([New(f"n{number}", packed(number), ["best"]) for number in range(5)])
    store.remove("n4")
    told = []
    size = store.publish(url, overwrite=True, progress=lambda *counts: told.append(counts))
    assert told[-1] == (size, size)
    files, path = fsspec.url_to_fs(url)
    assert [Path(name).name for name in files.ls(str(Path(path).parent), detail=False)] == ["s.nola"]
    with pytest.raises(OutputExistsError):
        store.publish(url)
    with Store.fetch(url, tmp_path / "here.nola") as fetched:
        assert fetched.names() == ["n0", "n1", "n2", "n3"]
        assert fetched.read("n2:best") == packed(2)
        fetched.add("mine", packed(9))
    with pytest.raises(OutputExistsError):
        Store.fetch(url, tmp_path / "here.nola")
    Store.fetch(url, tmp_path / "here.nola", overwrite=True).close()
    with Store(tmp_path / "here.nola") as again:
        assert "mine" not in again.names()


def test_what_is_published_while_a_pin_holds_is_not_pinned_elsewhere(store, tmp_path):
    store.add("a", packed(1))
    with store.pin("a"):
        store.publish("memory://pinned/s.nola", overwrite=True)
    with Store.fetch("memory://pinned/s.nola", tmp_path / "s.nola") as fetched:
        fetched.remove("a")
        assert fetched.collect().blobs == 1


def test_a_fetched_file_takes_its_name_only_when_it_is_right(store, tmp_path):
    there = tmp_path / "there.nola"
    store.add("a", packed(1))
    store.publish(f"file://{there}")
    text = there.read_bytes()
    place = text.index(packed(1)[-40:])
    for bad, kind in (
        (text[:place] + b"!" + text[place + 1 :], StoreDamagedError),
        (b"text", StoreFormatError),
    ):
        there.write_bytes(bad)
        with pytest.raises(kind):
            Store.fetch(f"file://{there}", tmp_path / "here.nola")
    for url in ("memory://none/s.nola", "nowhere://x/y"):
        with pytest.raises(StoreError):
            Store.fetch(url, tmp_path / "here.nola")
    assert sorted(path.name for path in tmp_path.iterdir() if "adapters" not in path.name) == ["there.nola"]


def test_a_failed_upload_leaves_what_was_there(store, tmp_path, monkeypatch):
    url = f"file://{tmp_path}/there/s.nola"
    store.add("a", packed(1))
    store.publish(url)
    before = (tmp_path / "there" / "s.nola").read_bytes()
    store.add("b", packed(2))
    local = type(fsspec.url_to_fs(url)[0])

    def broken(self, source, target, **_):
        shutil.copyfile(source, target)
        raise OSError("the line is down")

    monkeypatch.setattr(local, "put_file", broken)
    with pytest.raises(StoreError, match="the line is down"):
        store.publish(url, overwrite=True)
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["s.nola"]
    assert (tmp_path / "there" / "s.nola").read_bytes() == before


def test_entries_are_plain_values(store):
    entry = store.add("a", packed(1, base_fingerprint={"structure": "0" * 16}))
    assert json.loads(json.dumps(entry.to_dict()))["base"] == "0" * 16
