"""What is fuzzed: each reader as a function of bytes, with whole inputs to begin from and structured changes."""

from __future__ import annotations

import hashlib
import json
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from random import Random
from typing import Any

from safetensors import SafetensorError

import nolakit
from attacks import mutations
from attacks.mutations import Mutate, Plain
from attacks.whole import llama_adapter
from nolakit.adapter import module_names
from nolakit.adapter.container import DESCRIPTION, Stored
from nolakit.adapter.contents import Adapter
from nolakit.adapter.json_text import parse_json
from nolakit.store.bundles import (
    MANIFEST,
    MANIFEST_DIGEST,
    Bundled,
    is_bundle,
    read_bundle,
    read_manifest,
    write_bundle,
)
from nolakit.store.names import check_tag, parse_ref

LARGEST_EXPANSION = 1 << 16  # entries; beyond it an expansion takes its time rightly
MOST_NAMES = 1 << 14


@dataclass(frozen=True)
class Target:
    """read: returns, or raises an error of nolakit's; anything else is a finding."""

    read: Callable[[bytes], Any]
    seeds: Callable[[], list[bytes]]
    mutate: Mutate


@cache
def place() -> Path:
    """A folder for inputs that are files, removed when the process ends."""
    kept.append(tempfile.TemporaryDirectory())
    return Path(kept[0].name)


kept: list[tempfile.TemporaryDirectory[str]] = []


@cache
def folder() -> Path:
    return llama_adapter(place() / "whole")


@cache
def packed_seeds() -> list[bytes]:
    return [nolakit.pack(folder(), bits) for bits in (8, 4, 16, 32)]


@cache
def _content() -> dict[str, Stored]:
    return mutations.content_of(packed_seeds()[0])


def described(adapter: Adapter) -> None:
    """Everything that reads an adapter without a base."""
    modules = adapter.checked_modules()
    assert adapter.record is None or isinstance(adapter.record, dict)
    adapter.load()
    if sum(prod(dims) for module in modules for dims in module.dims.values()) <= LARGEST_EXPANSION:
        nolakit.expand(adapter)


def read_packed(data: bytes) -> None:
    described(nolakit.read_packed(data))


def read_description(data: bytes) -> None:
    read_packed(mutations.sign(_content() | {DESCRIPTION: Stored("U8", (len(data),), data)}))


def read_names(data: bytes) -> None:
    try:
        patterns = parse_json(data)
    except ValueError:
        return  # which both callers turn into an AdapterError
    number = module_names.count(patterns)
    if number <= MOST_NAMES:
        assert len(module_names.expand_names(patterns)) == number


def read_folder(data: bytes) -> None:
    length = int.from_bytes(data[:4], "little")
    path = place() / "adapter"
    path.mkdir(exist_ok=True)
    (path / "adapter_config.json").write_bytes(data[4 : 4 + length])
    (path / "adapter_model.safetensors").write_bytes(data[4 + length :])
    nolakit.inspect(path).to_dict()
    described(nolakit.open_adapter(path))


def read_bundle_bytes(data: bytes) -> None:
    path = place() / "x.safetensors"
    path.write_bytes(data)
    if is_bundle(path):
        for _, content in read_bundle(path, read_manifest(path)):
            nolakit.read_packed(content)


def read_reference(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    ref = parse_ref(text)
    assert ".." not in ref.name and not ref.name.startswith("/") and "\0" not in ref.name
    check_tag(text)


def folder_seeds() -> list[bytes]:
    config = (folder() / "adapter_config.json").read_bytes()
    return [
        _pair(config, (folder() / "adapter_model.safetensors").read_bytes()),
        _pair(config, packed_seeds()[0]),
    ]


def bundle_seeds() -> list[bytes]:
    by_digest = {nolakit.read_packed(data).digest: data for data in packed_seeds()[:2]}
    listed = [
        Bundled(f"team/{size}", key, len(data), ("best",))
        for size, (key, data) in enumerate(by_digest.items())
    ]
    write_bundle(place() / "bundle", listed, by_digest.__getitem__)
    return [(place() / "bundle").read_bytes()]


def _pair(config: bytes, weights: bytes) -> bytes:
    return struct.pack("<I", len(config)) + config + weights


def _mutate_folder(data: bytes, random: Random, plain: Plain) -> bytes:
    length = int.from_bytes(data[:4], "little")
    config, weights = data[4 : 4 + length], data[4 + length :]
    if random.random() < 0.5:
        return _pair(mutations.json_text(config, random, plain), weights)
    return _pair(config, mutations.signed(weights, random, plain))


def _mutate_bundle(data: bytes, random: Random, plain: Plain) -> bytes:
    """Its list with the list's digest right, or its header."""
    try:
        content = mutations.content_of(data)
        listed = bytes(content[MANIFEST].data)
    except (SafetensorError, OverflowError, KeyError):
        return plain(data)
    if random.random() < 0.4:
        return mutations.header(data, random, plain)
    text = mutations.json_text(listed, random, plain)
    content[MANIFEST] = Stored("U8", (len(text),), text)
    summed = hashlib.sha256(text).digest()
    return mutations.file_of(content | {MANIFEST_DIGEST: Stored("U8", (32,), summed)})


def _plainly(data: bytes, random: Random, plain: Plain) -> bytes:
    return mutations.damaged(data, random) if random.random() < 0.5 else plain(data)


def _names() -> list[bytes]:
    patterns = ["lm_head"], [["layers.", [0, 79], ".q"]], [["a", [0, 1], "b", [0, 7]]]
    return [json.dumps(one).encode() for one in patterns]


TARGETS = {
    "packed": Target(read_packed, packed_seeds, mutations.signed),
    "description": Target(
        read_description, lambda: [bytes(_content()[DESCRIPTION].data)], mutations.json_text
    ),
    "names": Target(read_names, _names, mutations.json_text),
    "folder": Target(read_folder, folder_seeds, _mutate_folder),
    "bundle": Target(read_bundle_bytes, bundle_seeds, _mutate_bundle),
    "references": Target(
        read_reference, lambda: [b"team/task", b"a@3", b"a:best", b"sha256:" + b"0a" * 32], _plainly
    ),
}
