"""Many adapters in one safetensors file, for sharing.

    nolakit.bundle     U8, JSON text: {"version": 1, "adapters": [{"name", "digest", "tags"}, ...]}
    nolakit.sha256     U8 (32,), SHA-256 of that text
    <digest>           U8, the bytes of the packed adapter of that digest, for each digest in the list

`docs/store.md` is the specification. Equal content is held once. Writing and reading hold one adapter in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from nolakit.adapter.contents import TensorInfo
from nolakit.adapter.headers import read_header
from nolakit.adapter.json_text import parse_json
from nolakit.errors import AdapterError, StoreNameError
from nolakit.store.names import check_name, check_tag

MANIFEST, MANIFEST_DIGEST = "nolakit.bundle", "nolakit.sha256"
VERSION = 1


@dataclass(frozen=True)
class Bundled:
    """An adapter of a bundle."""

    name: str
    digest: str
    size: int
    tags: Sequence[str] = ()


def write_bundle(path: Path, adapters: Sequence[Bundled], read: Callable[[str], bytes]) -> None:
    """Write a bundle.

    Args:
        read: gives the bytes of a digest.
    """
    listed = [{"name": one.name, "digest": one.digest, "tags": list(one.tags)} for one in adapters]
    text = json.dumps({"version": VERSION, "adapters": listed}, separators=(",", ":")).encode()
    sizes = {MANIFEST: len(text), MANIFEST_DIGEST: 32} | {one.digest: one.size for one in adapters}
    with path.open("wb") as file:
        file.write(_header(sizes))
        file.write(text)
        file.write(hashlib.sha256(text).digest())
        for digest in list(sizes)[2:]:
            data = read(digest)
            assert len(data) == sizes[digest], digest
            file.write(data)


def is_bundle(path: Path) -> bool:
    """Whether a file is a bundle, from its header. Raises AdapterError for what is no safetensors file."""
    return MANIFEST in read_header(path)


def read_manifest(path: Path) -> list[Bundled]:
    """What a bundle has. Raises AdapterError where the file is damaged, or of another version."""
    header = read_header(path)
    with _opened(path) as file:
        text = _bytes(file, MANIFEST, path) if MANIFEST in header else b""
        if MANIFEST_DIGEST not in header or hashlib.sha256(text).digest() != _bytes(
            file, MANIFEST_DIGEST, path
        ):
            raise AdapterError(
                f"found {str(path)!r} damaged: its list of adapters is not what it was; fetch it again"
            )
        try:
            values: Any = parse_json(text)
        except ValueError as error:
            raise AdapterError(
                f"found {str(path)!r} whose list of adapters is not JSON text: {error}"
            ) from error
        version = values.get("version") if isinstance(values, dict) else None
        if type(version) is not int or version != VERSION:
            raise AdapterError(
                f"found {str(path)!r}, a bundle of version {str(version)[:40]}; expected {VERSION}: update nolakit"
            )
        return [_checked(one, header, path) for one in _list(values.get("adapters"), path)]


def read_bundle(path: Path, adapters: Iterable[Bundled]) -> Iterator[tuple[Bundled, bytes]]:
    """The adapters of a bundle with their bytes, one after the other. Raises AdapterError."""
    with _opened(path) as file:
        for one in adapters:
            yield one, _bytes(file, one.digest, path)


def _header(sizes: dict[str, int]) -> bytes:
    """A safetensors header: 8 bytes of its length, little-endian, and JSON filled up with spaces to 8 bytes."""
    tensors, offset = {}, 0
    for name, size in sizes.items():
        tensors[name] = {"dtype": "U8", "shape": [size], "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(tensors, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"found {str(path)!r}, which is not a whole safetensors file: {error}") from error


def _bytes(file: Any, key: str, path: Path) -> bytes:
    try:
        part = file.get_slice(key)  # numpy has not every dtype that a file may name
        dtype, shape = part.get_dtype(), part.get_shape()
        if dtype != "U8" or len(shape) != 1:
            raise AdapterError(
                f"found {key[:80]!r} of {str(path)!r} with {dtype} of shape {shape}; expected bytes"
            )
        return file.get_tensor(key).tobytes()
    except SafetensorError as error:
        raise AdapterError(f"found {str(path)!r} damaged at {key[:80]!r}: {error}") from error


def _list(value: Any, path: Path) -> list[Any]:
    if not isinstance(value, list):
        raise AdapterError(f"found {str(path)!r} without a list of adapters; fetch it again")
    return value


def _checked(one: Any, header: dict[str, TensorInfo], path: Path) -> Bundled:
    try:
        digest, tags = one["digest"], [check_tag(tag) for tag in one["tags"]]
        if digest not in header or digest in (MANIFEST, MANIFEST_DIGEST):
            raise AdapterError(
                f"found {str(path)!r} without the adapter {str(digest)[:100]!r} of its list; fetch it again"
            )
        return Bundled(check_name(one["name"]), digest, header[digest].shape[0], tags)
    except (KeyError, TypeError, IndexError, StoreNameError) as error:
        raise AdapterError(
            f"found {str(one)[:100]} in the list of {str(path)!r}, which is no adapter: {error}"
        ) from error
