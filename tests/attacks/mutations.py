"""Changes to inputs that keep their structure, so that they get past the first check."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

from safetensors import SafetensorError, deserialize

from attacks import raw
from nolakit.adapter.container import DESCRIPTION, DIGEST, Stored, digest

Plain = Callable[[bytes], bytes]  # changes bytes without knowing what they are
Mutate = Callable[[bytes, Random, Plain], bytes]

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 6, 255, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 64, 10**30, 0.5, -0.0, 1e308,
    float("nan"), float("inf"), "", "a", "..", "../../x", "a.b", "\ud800", "\0", "\x1b[31m", "é", "a" * 300, "F32",
    "BF16", "F8_E4M3", "U8", [], {}, [[]], [0, 1], [5, 0], [0, 1 << 31], [1 << 31, 1 << 31], ["a.", [0, 3], ".b"],
    {"a": 1}, {"lora_A": [3, 8], "lora_B": [8, 3]}, [[[[["deep"]]]]],
]  # fmt: skip
DTYPES = ("F64", "F32", "F16", "BF16", "I64", "I8", "U8", "BOOL", "F8_E4M3")


def changed(value: Any, random: Random) -> Any:
    """A JSON value with one thing in it replaced, removed, added or repeated."""
    if not isinstance(value, dict | list) or not value or random.random() < 0.05:
        return random.choice(VALUES)
    if isinstance(value, dict):
        key = random.choice(sorted(value))
        return _other(key, dict(value), random, random.choice([*sorted(value), "a", "", "modules", "lora_A"]))
    return _other(random.randrange(len(value)), list(value), random, None)


def _other(key: Any, value: Any, random: Random, name: str | None) -> Any:
    roll = random.random()
    if roll < 0.1:
        del value[key]
    elif roll < 0.2:
        if name is None:
            value.insert(key, value[key])
        else:
            value[name] = value[key]
    else:
        value[key] = changed(value[key], random)
    return value


def json_text(data: bytes, random: Random, plain: Plain) -> bytes:
    try:
        return (
            plain(data) if random.random() < 0.2 else json.dumps(changed(json.loads(data), random)).encode()
        )
    except (ValueError, RecursionError):
        return plain(data)


def header(data: bytes, random: Random, plain: Plain) -> bytes:
    """Of a safetensors file, its header as JSON, or any bytes."""
    try:
        said, rest = raw.split(data)
        return raw.joined(json_text(json.dumps(said).encode(), random, plain), rest)
    except (ValueError, LookupError, RecursionError, raw.struct.error):
        return plain(data)


def content_of(data: bytes) -> dict[str, Stored]:
    """The tensors of a safetensors file."""
    found = deserialize(data)
    return {name: Stored(one["dtype"], tuple(one["shape"]), bytes(one["data"])) for name, one in found}


def signed(data: bytes, random: Random, plain: Plain) -> bytes:
    """Of a packed file, one tensor, with the digest right; or the header."""
    try:
        content = content_of(data)
    except (SafetensorError, OverflowError):
        return plain(data)
    if random.random() < 0.5 or not content:
        return header(data, random, plain)
    name = random.choice(sorted(content))
    one = content.pop(name)
    content[random.choice([name] * 6 + ["a", "scales", "x.lora_A.coefficients", DESCRIPTION])] = random.choice([
        lambda: Stored(random.choice(DTYPES), one.shape, one.data),
        lambda: Stored(one.dtype, (*one.shape, 1), one.data),
        lambda: Stored("U8", (len(one.data),), one.data),
        lambda: _bytes(json_text(bytes(one.data), random, plain)),
        lambda: _bytes(plain(bytes(one.data))),
        lambda: Stored(one.dtype, one.shape, bytes(random.randrange(256) for _ in one.data)),
    ])()  # fmt: skip
    return sign(content)


def sign(content: dict[str, Stored]) -> bytes:
    """A packed file of tensors, with their digest."""
    content = {name: one for name, one in content.items() if name != DIGEST}
    return file_of(content | {DIGEST: _bytes(digest(content))})


def file_of(content: dict[str, Stored]) -> bytes:
    """A safetensors file, whether or not shapes fit the bytes."""
    listed, parts, end = {}, [], 0
    for name, one in content.items():
        offsets = [end, end + len(one.data)]
        listed[name] = {"dtype": one.dtype, "shape": list(one.shape), "data_offsets": offsets}
        parts.append(bytes(one.data))
        end = offsets[1]
    return raw.joined(listed, b"".join(parts))


def _bytes(data: bytes) -> Stored:
    return Stored("U8", (len(data),), data)


def damaged(data: bytes, random: Random) -> bytes:
    """Bytes with some cut, repeated, or replaced."""
    at, other = sorted(random.randint(0, len(data)) for _ in range(2))
    return random.choice([
        lambda: data[:at] + data[other:],
        lambda: data[:other] + data[at:],
        lambda: data[:at] + bytes([random.randrange(256)]) + data[at + 1 :],
        lambda: data[:at] + random.choice([b"@", b":", b"sha256:", b"..", b"/", b"\0", b"\xff", b'"', b"[", b"9" * 30])
        + data[at:],
    ])()  # fmt: skip
