"""Safetensors files byte by byte, and bytes that are none."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from typing import Any

F32 = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and data of a safetensors file."""
    end = 8 + struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:end]), data[end:]


def joined(header: Any, data: bytes = b"") -> bytes:
    """A safetensors file of a header, which may be any JSON value or any bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def zipped() -> bytes:
    """A zip file that unpacks to a thousand times its size."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(1 << 20))
    return buffer.getvalue()


class Trap:
    """Unpickling it fails the test."""

    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('a pickle was opened')",)


def not_safetensors(whole: bytes) -> dict[str, bytes]:
    """Files that are no safetensors file, by what is wrong with them."""
    header, data = split(whole)
    name = next(key for key in header if key != "__metadata__")
    first = header[name]

    def other(**changes: Any) -> bytes:
        return joined(header | {name: first | changes}, data)

    end = len(data)
    return {
        "empty": b"", "one byte": b"\0", "zeros": bytes(100), "a length alone": whole[:8],
        "pickle": pickle.dumps(Trap()),
        "old pickle": pickle.dumps({"a": Trap()}, protocol=0), "zip": zipped(), "text": b"not a model at all\n" * 9,
        "longer by a byte": whole + b"\0", "shorter by a byte": whole[:-1], "twice": whole + whole,
        "no length": struct.pack("<Q", 0) + whole[8:],
        "a length beyond the file": struct.pack("<Q", 1 << 20) + whole[8:],
        "a length of exabytes": struct.pack("<Q", 1 << 62) + whole[8:], "a negative length": b"\xff" * 8 + whole[8:],
        "no JSON": joined(b"{" + b"x" * 40, data), "no UTF-8": joined(b"\xff" * 40, data),
        "nested JSON": joined(b'{"a":' * 50_000, data), "nested lists": joined(b"[" * 100_000, data),
        "a list": joined([], data), "a number": joined(1, data), "a text as a tensor": joined({name: "F32"}, data),
        "negative shape": other(shape=[-1]), "zero shape": other(shape=[0]), "fractions": other(shape=[1.5]),
        "huge shape": other(shape=[1 << 40]), "a shape that overflows": other(shape=[1 << 32, 1 << 32, 4]),
        "a shape beyond 64 bits": other(shape=[1 << 64]), "no shape": other(shape=None),
        "no offsets": other(data_offsets=None), "reversed offsets": other(data_offsets=[8, 0]),
        "offsets beyond the file": other(data_offsets=[end, 2 * end]), "huge offsets": other(data_offsets=[0, 1 << 62]),
        "negative offsets": other(data_offsets=[-8, 0]), "unknown dtype": other(dtype="F33"),
        "overlapping": joined(header | {"more": first}, data),
        "a hole": joined({key: value for key, value in header.items() if key != name}, data),
    }  # fmt: skip


def with_name_twice(whole: bytes) -> bytes:
    """The file with its first tensor's entry a second time, which safetensors itself lets pass."""
    header, data = split(whole)
    name, entry = next((key, value) for key, value in header.items() if key != "__metadata__")
    text = json.dumps(header)[:-1] + f", {json.dumps(name)}: {json.dumps(entry)}}}"
    return joined(text.encode(), data)


def empty_giant(whole: bytes, name: str = "giant") -> bytes:
    """The file with a tensor without bytes whose other dimensions overflow."""
    header, data = split(whole)
    entry = {"dtype": "F32", "shape": [0, 1 << 62, 1 << 62], "data_offsets": [len(data)] * 2}
    return joined(header | {name: entry}, data)


def truncated(whole: bytes, step: int = 97) -> list[bytes]:
    """The file cut at every place of its beginning, and at many others."""
    return [whole[:length] for length in [*range(0, 64, 3), *range(64, len(whole), step), len(whole) - 1]]


def flipped(whole: bytes, step: int = 7) -> list[bytes]:
    """The file with one bit changed: of one byte in `step`, another bit in turn."""
    changed = []
    for number, at in enumerate(range(0, len(whole), step)):
        other = bytearray(whole)
        other[at] ^= 1 << number % 8
        changed.append(bytes(other))
    return changed
