"""Bundles and folders to import: what is not whole or not true is refused, and nothing of it is added."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from attacks import raw
from attacks.limits import command_refused, refused, tried
from nolakit.store.bundles import MANIFEST, MANIFEST_DIGEST, Bundled, write_bundle
from nolakit.store.store import Store
from packed_bytes import packed

A, B = packed(1), packed(2)


def bundle(
    text: bytes | Any, contents: dict[str, bytes], *, digest: bytes | None = None, **header: Any
) -> bytes:
    """A bundle of a list, which may be any bytes, and contents by name."""
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    parts = {
        MANIFEST: text,
        MANIFEST_DIGEST: hashlib.sha256(text).digest() if digest is None else digest,
    } | contents
    entries, offset = {}, 0
    for name, part in parts.items():
        entries[name] = {"dtype": "U8", "shape": [len(part)], "data_offsets": [offset, offset + len(part)]}
        offset += len(part)
    return raw.joined(entries | header, b"".join(parts.values()))


def listed(*adapters: Any, **changes: Any) -> dict[str, Any]:
    return {"version": 1, "adapters": list(adapters)} | changes


def one(name: Any = "a", digest: Any = None, tags: Any = ()) -> dict[str, Any]:
    return {"name": name, "digest": DIGEST if digest is None else digest, "tags": tags}


DIGEST = "1" * 64
HELD = {DIGEST: A}
UNTRUE: dict[str, tuple[bytes, str]] = {
    "no JSON": (bundle(b"{", HELD), "not JSON text"),
    "no UTF-8": (bundle(b"\xff" * 9, HELD), "not JSON text"),
    "empty list text": (bundle(b"", HELD), "not JSON text"),
    "nested": (bundle(b'{"a":' * 100_000, HELD), "not JSON text"),
    "a number without end": (bundle(b"9" * 100_000, HELD), "not JSON text|version"),
    "version twice": (bundle(b'{"version":1,"version":1,"adapters":[]}', HELD), "twice"),
    "half a surrogate": (bundle(b'{"version":1,"adapters":["\\ud800"]}', HELD), "not JSON text"),
    "a list": (bundle([], HELD), "version None"),
    "newer": (bundle(listed(version=2), HELD), "version 2"),
    "version true": (bundle(listed(one(), version=True), HELD), "version True"),
    "no list": (bundle({"version": 1}, HELD), "without a list"),
    "another digest of the list": (bundle(listed(one()), HELD, digest=bytes(32)), "is not what it was"),
    "a short digest of the list": (bundle(listed(one()), HELD, digest=b""), "is not what it was"),
    "no digest of the list": (
        raw.joined({MANIFEST: {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}, b"[]"), "is not what it was",
    ),
    "list of numbers": (bundle(listed(1, 2), HELD), "no adapter"),
    "list of nothing": (bundle(listed(None), HELD), "no adapter"),
    "no name": (bundle(listed({"digest": DIGEST, "tags": []}), HELD), "no adapter"),
    "name a number": (bundle(listed(one(7)), HELD), "no adapter"),
    "digest a list": (bundle(listed(one(digest=[[1]])), HELD), "no adapter|without the adapter"),
    "tags a number": (bundle(listed(one(tags=7)), HELD), "no adapter"),
    "tags of numbers": (bundle(listed(one(tags=[7])), HELD), "no adapter"),
    "tag latest": (bundle(listed(one(tags=["latest"])), HELD), "no adapter"),
    "content missing": (bundle(listed(one(digest="2" * 64)), HELD), "without the adapter"),
    "the list as an adapter": (bundle(listed(one(digest=MANIFEST)), HELD), "without the adapter"),
    "another content": (bundle(listed(one()), HELD), DIGEST),
    "content no adapter": (bundle(listed(one()), {DIGEST: b"no adapter" * 9}), "safetensors"),
    "content a pickle": (bundle(listed(one()), {DIGEST: pickle.dumps(raw.Trap())}), "safetensors"),
    "content empty": (bundle(listed(one()), {DIGEST: b""}), "safetensors"),
    "content of floats": (
        bundle(listed(one()), {}, more={"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}), "without|whole",
    ),
    "a name of megabytes": (bundle(listed(one("a" * 3_000_000)), HELD), "no adapter"),
    "a million adapters": (bundle(listed(*[0] * 1_000_000), HELD), "no adapter"),
} | {
    f"name {name[:20]!r}": (bundle(listed(one(name)), HELD), "no adapter")
    for name in ("../x", "/etc/passwd", "a\0b", "a\\b", "C:\\x", "a/../b", "", ".", "~", "ä", "a\u202eb", "\x1b[31m")
}  # fmt: skip


def into_a_store(path: Path, store: Store) -> Any:
    return lambda out: store.import_from([path])


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store.create(tmp_path / "s.nola") as made:
        made.add("kept", packed(9))
        yield made


def import_refused(path: Path, store: Store, said: str, place: Path) -> None:
    refused(into_a_store(path, store), said, place)
    command_refused("store", "import", store.path, path, said=said, place=place)
    assert (store.names(), store.stats().blobs) == (["kept"], 1)


@pytest.mark.parametrize("attack", UNTRUE)
def test_bundles_that_are_not_true(store: Store, attack: str, tmp_path: Path, place: Path) -> None:
    data, said = UNTRUE[attack]
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    import_refused(path, store, said, place)


@pytest.fixture
def whole(tmp_path: Path, store: Store) -> bytes:
    digests = {store.add(name, data).digest: data for name, data in (("a", A), ("b", B))}
    path = tmp_path / "whole.safetensors"
    named = [
        Bundled(name, digest, len(data)) for name, (digest, data) in zip("ab", digests.items(), strict=True)
    ]
    write_bundle(path, named, digests.__getitem__)
    store.remove("a", "b")
    store.collect()
    return path.read_bytes()


@pytest.mark.parametrize("attack", raw.not_safetensors(raw.joined({"a": raw.F32}, bytes(4))))
def test_bundles_that_are_no_safetensors_file(
    store: Store, whole: bytes, attack: str, tmp_path: Path, place: Path
) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw.not_safetensors(whole)[attack])
    import_refused(path, store, r"x\.safetensors", place)


def test_a_tensor_twice_and_one_without_bounds(
    store: Store, whole: bytes, tmp_path: Path, place: Path
) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw.with_name_twice(whole))
    import_refused(path, store, "twice", place)
    path.write_bytes(raw.empty_giant(whole))
    import_refused(path, store, "no tensor is so large", place)


def test_bundles_that_are_cut_or_changed_give_nothing_else(
    store: Store, whole: bytes, tmp_path: Path, place: Path
) -> None:
    path = tmp_path / "x.safetensors"
    for data in [*raw.truncated(whole, 997), *raw.flipped(whole, 41)]:
        path.write_bytes(data)
        tried(into_a_store(path, store), place)
    assert {store.read(entry.ref) for entry in store.entries(every=True)} <= {A, B, packed(9)}
    assert store.verify().damaged == ()


def test_folders_that_lead_into_themselves(store: Store, tmp_path: Path, place: Path) -> None:
    folder = tmp_path / "folders"
    folder.mkdir()
    (folder / "loop").symlink_to(folder)
    (folder / "itself.safetensors").symlink_to(folder / "itself.safetensors")
    refused(into_a_store(folder, store), r"itself\.safetensors", place)
    (folder / "itself.safetensors").unlink()
    import_refused(folder, store, "no adapter at", place)
    (folder / "team").mkdir()
    (folder / "team" / "one.safetensors").write_bytes(A)
    assert [entry.ref for entry in store.import_from([folder])] == ["team/one@1"]


def test_folders_below_folders_without_end(store: Store, tmp_path: Path, place: Path) -> None:
    deep = tmp_path / "deep"
    inner = deep.joinpath(*["d"] * 300)
    inner.mkdir(parents=True)
    (inner / "x.safetensors").write_bytes(A)
    import_refused(deep, store, "found the name", place)


def test_a_folder_or_a_pipe_named_like_a_file(store: Store, tmp_path: Path, place: Path) -> None:
    (tmp_path / "f" / "x.safetensors").mkdir(parents=True)
    refused(into_a_store(tmp_path / "f", store), r"no|not", place)
