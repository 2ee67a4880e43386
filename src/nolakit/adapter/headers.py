"""Headers of safetensors files, from the file's first bytes, and its tensors for torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from nolakit.adapter.contents import TensorInfo
from nolakit.adapter.json_text import parse_json
from nolakit.errors import AdapterError

LARGEST_DIM = 1 << 48  # of a tensor; larger ones overflow in torch even where the tensor is empty


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Names, dtypes and shapes of a safetensors file. Raises AdapterError where it is not one."""
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - not a dict
            found = {
                key: TensorInfo(part.get_dtype(), tuple(part.get_shape())) for key, part in slices.items()
            }
        with path.open("rb") as file:
            parse_json(file.read(int.from_bytes(file.read(8), "little")))  # a name twice
    except (SafetensorError, OSError, ValueError, OverflowError) as error:
        raise AdapterError(f"found {str(path)!r}, which is not a whole safetensors file: {error}") from error
    for key, info in found.items():
        check_shape(key, info.shape, str(path))
    return found


def check_shape(key: str, shape: tuple[int, ...], where: str) -> None:
    """Raises AdapterError for a shape that no tensor can have, which empty ones say without a byte."""
    size = 1
    for dim in shape:
        size *= max(dim, 1)
    if size > LARGEST_DIM or len(shape) > 16:
        raise AdapterError(f"found {key[:80]!r} of shape {str(shape)[:80]} in {where}; no tensor is so large")


@contextmanager
def open_safetensors(path: Path) -> Iterator[Any]:
    """`safe_open` for torch. Raises AdapterError where the file or a tensor in it cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"found {str(path)!r}, which cannot be read: {error}") from error
