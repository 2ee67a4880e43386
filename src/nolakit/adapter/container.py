"""Tensors with a description and a digest, as the bytes of one safetensors file.

    nolakit.description    U8, JSON text
    nolakit.sha256         U8 (32,), SHA-256 of the JSON list of [name, dtype, shape] of all other tensors in the
                           order of their names, followed by their bytes in that order

The description is a tensor, not the file's metadata, so that it reaches a reader that is only given tensors, needs
no escaping, and is covered by the digest as everything else is. The safetensors library writes and checks the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, deserialize

from nolakit.adapter.headers import check_shape
from nolakit.adapter.json_text import parse_json
from nolakit.errors import AdapterError

if TYPE_CHECKING:
    import torch

DESCRIPTION = "nolakit.description"
DIGEST = "nolakit.sha256"


@dataclass(frozen=True)
class Stored:
    """A tensor as it lies in a file."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes | bytearray | memoryview


def write_container(description: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> bytes:
    """The file's bytes: the same for the same content, on every machine."""
    import torch
    from safetensors.torch import save

    text = json.dumps(description, separators=(",", ":"), ensure_ascii=False).encode()
    whole = {**tensors, DESCRIPTION: torch.frombuffer(bytearray(text), dtype=torch.uint8)}
    unsigned = {
        name: Stored(one["dtype"], tuple(one["shape"]), one["data"]) for name, one in deserialize(save(whole))
    }
    whole[DIGEST] = torch.frombuffer(bytearray(digest(unsigned)), dtype=torch.uint8)
    return save(whole, {"format": "pt"})


def read_container(
    data: bytes, where: str, *, check_digest: bool = True
) -> tuple[Any, dict[str, Stored], str]:
    """The description, the other tensors, and the digest in hexadecimal.

    Args:
        where: what the bytes are, for messages.
        check_digest: False where these very bytes were checked before, which saves most of the time.

    Raises:
        AdapterError: bytes that are not a whole safetensors file, lack one of the two tensors above, or have
            another digest than they say.
    """
    try:
        stored = {
            name: Stored(one["dtype"], tuple(one["shape"]), one["data"]) for name, one in deserialize(data)
        }
    except (SafetensorError, OverflowError) as error:
        raise AdapterError(f"found {where}, which is not a whole safetensors file: {error}") from error
    for name, one in stored.items():
        check_shape(name, one.shape, where)
    return check_container(stored, where, check_digest=check_digest)


def check_container(
    stored: dict[str, Stored], where: str, *, check_digest: bool = True
) -> tuple[Any, dict[str, Stored], str]:
    """As `read_container`, from the tensors."""
    for name in (DESCRIPTION, DIGEST):
        if name not in stored or stored[name].dtype != "U8" or len(stored[name].shape) != 1:
            raise AdapterError(f"found {where} without {name!r}; expected a packed adapter (`nolakit pack`)")
    expected = bytes(stored.pop(DIGEST).data)
    found = digest(stored) if check_digest else expected
    if found != expected:
        raise AdapterError(
            f"found {where} damaged: the SHA-256 of its content is {found.hex()}, and it says "
            f"{expected.hex()}; fetch or pack it again"
        )
    text = bytes(stored.pop(DESCRIPTION).data)
    try:
        description = parse_json(text)
    except ValueError as error:
        raise AdapterError(f"found {where} whose description is not JSON text: {error}") from error
    return description, stored, expected.hex()


def digest(stored: Mapping[str, Stored]) -> bytes:
    """SHA-256 of names, dtypes, shapes and bytes."""
    names = sorted(stored)
    listed = [[name, stored[name].dtype, list(stored[name].shape)] for name in names]
    hashed = hashlib.sha256(json.dumps(listed, separators=(",", ":")).encode())
    for name in names:
        hashed.update(stored[name].data)
    return hashed.digest()
