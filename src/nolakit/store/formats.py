"""The only place where the store knows what a blob is: the bytes of a packed adapter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nolakit.errors import AdapterError

if TYPE_CHECKING:
    from nolakit.adapter.packed import PackedAdapter


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
        found = json.loads(self.base_fingerprint)
        return found.get("structure") if isinstance(found, Mapping) else None


def opened(data: bytes, where: str) -> PackedAdapter:
    """The adapter of a blob; its digest is checked against its content. Raises AdapterError."""
    from nolakit.adapter.unpacking import read_packed

    return read_packed(data, where)


def opened_as(data: bytes, digest: bytes, where: str) -> PackedAdapter:
    """The adapter of the blob that is stored under a digest. Raises AdapterError where the bytes are others."""
    adapter = opened(data, where)
    if adapter.digest != digest.hex():
        raise AdapterError(f"found {where} with the content {adapter.digest}; expected {digest.hex()}")
    return adapter


def kind_of(adapter: PackedAdapter) -> Kind:
    """What a listing shows of an adapter."""
    config = adapter.config
    fingerprint: Any = config.get("base_fingerprint")
    return Kind(
        method=adapter.method,
        bits=adapter.bits,
        base_model=str(config.get("base_model_name_or_path") or ""),
        base_fingerprint=json.dumps(fingerprint, sort_keys=True, separators=(",", ":")),
    )


def packed_bytes(adapter: str | Path | bytes, bits: int | None = None) -> bytes:
    """The blob of an adapter.

    Args:
        adapter: the bytes of a packed adapter, or where an adapter folder or a packed file is.
        bits: None keeps a packed adapter as it is, and packs a folder with 32, which loses nothing.

    Raises:
        AdapterError, UnsupportedError, ConfigError: as `nolakit.pack`.
    """
    if isinstance(adapter, bytes):
        if bits is None:
            return adapter
        source = opened(adapter, "the adapter to add")
    elif bits is None and Path(adapter).is_file():
        return Path(adapter).read_bytes()
    else:
        source = adapter
    from nolakit.adapter.packing import pack  # needs torch

    return pack(source, 32 if bits is None else bits)
