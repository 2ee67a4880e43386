"""The only place where the store knows what a blob is: the bytes of a packed adapter.

What reads one is imported with the first that is read, because it needs numpy and a listing does not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nolakit.adapter.json_text import parse_json
from nolakit.errors import AdapterError

if TYPE_CHECKING:
    from nolakit.adapter.packed import PackedAdapter

LARGEST_FILE = 900_000_000  # SQLite's limit of a row is 1e9 bytes


@dataclass(frozen=True)
class Kind:
    """What many adapters of a store have in common.

    base_fingerprint: JSON text, `null` where there is none; `docs/format.md`, section 6.
    """

    method: str
    bits: int
    base_model: str
    base_fingerprint: str

    @property
    def base(self) -> str | None:
        """The structure of the base's fingerprint."""
        found = self.fingerprint
        return found.get("structure") if isinstance(found, Mapping) else None

    @cached_property
    def fingerprint(self) -> Any:
        """The fingerprint's values. Raises ValueError for text that is none, which only damage makes."""
        return parse_json(self.base_fingerprint)


def opened(data: bytes, where: str) -> PackedAdapter:
    """The adapter of a blob; its digest is checked against its content. Raises AdapterError."""
    from nolakit.adapter.unpacking import read_packed

    return read_packed(data, where)


def opened_as(data: bytes, digest: bytes, where: str, *, check: bool = True) -> PackedAdapter:
    """The adapter of the blob that is stored under a digest. Raises AdapterError where the bytes are others.

    Args:
        check: False believes the digest that stands in the bytes.
    """
    from nolakit.adapter.unpacking import read_packed

    adapter = read_packed(data, where, check_digest=check)
    if adapter.digest != digest.hex():
        raise AdapterError(f"found {where} with the content {adapter.digest}; expected {digest.hex()}")
    return adapter


def kind_of(adapter: PackedAdapter) -> Kind:
    """What a listing shows of an adapter. Raises AdapterError where its fingerprint is none."""
    config = adapter.config
    fingerprint: Any = config.get("base_fingerprint")
    if fingerprint is not None and not _is_fingerprint(fingerprint):
        raise AdapterError(
            f"found the base_fingerprint {repr(fingerprint)[:80]} in {adapter.name}; expected an object of names, "
            "numbers and one sketch. Save the adapter over its base again"
        )
    return Kind(
        method=adapter.method,
        bits=adapter.bits,
        base_model=_printable(str(config.get("base_model_name_or_path") or "")),
        base_fingerprint=json.dumps(fingerprint, sort_keys=True, separators=(",", ":")),
    )


def _is_fingerprint(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(part, str | int)
        or (isinstance(part, dict) and all(isinstance(text, str) for text in part.values()))
        for part in value.values()
    )


def _printable(text: str) -> str:
    """The text without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def packed_bytes(adapter: str | Path | bytes, bits: int | None = None) -> bytes:
    """The blob of an adapter.

    Args:
        adapter: the bytes of a packed adapter, or where an adapter folder or a packed file is.
        bits: None keeps a packed adapter as it is, and packs a folder with 32, which loses nothing.

    Raises:
        AdapterError, UnsupportedError, ConfigError: as `nolakit.pack`.
    """
    if bits is None and isinstance(adapter, bytes):
        return adapter
    if bits is None and not isinstance(adapter, bytes) and Path(adapter).is_file():
        return read_file(Path(adapter))
    from nolakit.adapter.files import open_adapter
    from nolakit.adapter.packed import PackedAdapter
    from nolakit.adapter.packing import pack  # needs torch

    source = opened(adapter, "the adapter to add") if isinstance(adapter, bytes) else open_adapter(adapter)
    if bits is None:
        bits = source.bits if isinstance(source, PackedAdapter) else 32
    return pack(source, bits)


def read_file(path: Path) -> bytes:
    """The bytes of a packed file. Raises AdapterError where it cannot be read, or is too large to be one."""
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise AdapterError(
                f"found {str(path)!r} of {size:,} bytes; a store takes at most {LARGEST_FILE:,}"
            )
        return path.read_bytes()
    except OSError as error:
        raise AdapterError(f"found {str(path)!r}, which cannot be read: {error}") from error
