"""Reading packed adapters: from bytes or a file, everything checked that does not need the coefficients' values.

Nothing is allocated on the word of a file: names are expanded only after their number has been found to be that of
the coefficients, which the file holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from nolakit.adapter import module_names
from nolakit.adapter.container import Stored, check_container, read_container
from nolakit.adapter.contents import COEFFICIENTS, TORCH_NAMES
from nolakit.adapter.layout import MOST_MODULES
from nolakit.adapter.packed import SCALES, Description, PackedAdapter
from nolakit.adapter.packed_numbers import DTYPES, places
from nolakit.errors import AdapterError
from nolakit.methods.site import ROLES, Role

VERSION = 1
LARGEST_FILE = 1 << 33  # bytes; trained embeddings of large models are stored beside the coefficients
_NOTHING: Any = None


def read_packed(data: bytes, name: str = "a packed adapter", *, check_digest: bool = True) -> PackedAdapter:
    """Read a packed adapter from its bytes.

    Args:
        name: where the bytes are from, for messages.
        check_digest: False where these very bytes were checked before.

    Raises:
        AdapterError: bytes that are damaged in any way, or of another version.

    Cost: a SHA-256 of the bytes. Needs no torch. The modules' names and shapes are checked when they are asked for.
    """
    return _checked(*read_container(data, name, check_digest=check_digest), name, len(data))


def read_packed_tensors(stored: Mapping[str, Stored], name: str) -> PackedAdapter:
    """Read a packed adapter from all tensors of its file, those of the container too. Raises as `read_packed`."""
    return _checked(*check_container(dict(stored), name), name, sum(len(one.data) for one in stored.values()))


def open_packed(path: Path) -> PackedAdapter:
    """Read a packed file. Raises as `read_packed`, also for a file that cannot be read."""
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise AdapterError(f"found {str(path)!r} of {size:,} bytes; expected at most {LARGEST_FILE:,}")
        data = path.read_bytes()
    except OSError as error:
        raise AdapterError(f"found {str(path)!r}, which cannot be read: {error}") from error
    adapter = read_packed(data, str(path))
    adapter.checked_modules()
    return adapter


def _checked(values: Any, stored: dict[str, Stored], digest: str, name: str, size: int) -> PackedAdapter:
    said: dict[str, Any] = values if isinstance(values, dict) else {}
    version = said.get("version")
    if version != VERSION:
        raise AdapterError(
            f"found {name} of version {version!r}; expected {VERSION}: update nolakit, or pack it again"
        )
    description = Description(
        bits=said.get("bits", 0),
        patterns=said.get("modules", _NOTHING),
        counts=said.get("counts", _NOTHING),
        dtype=said.get("dtype", "F32"),
        config=said.get("config", _NOTHING),
        record=said.get("training"),
    )
    _check_types(description, name)
    adapter = PackedAdapter(name, description, digest, stored, (size, 0))
    if not adapter.computed:
        raise AdapterError(
            f"found {name} of method {adapter.method!r}, which this version does not know: update it"
        )
    each = adapter.layout.each
    if each is not None and description.counts != each:
        raise AdapterError(
            f"found {name} with {description.counts} coefficients a module; its configuration says {each}"
        )
    _check_sizes(description, stored, name, each)
    for key, one in stored.items():
        if key.endswith(f".{COEFFICIENTS}"):
            raise AdapterError(f"found {key!r} in {name} beside its coefficients; expected all in one tensor")
        if one.dtype not in TORCH_NAMES:
            raise AdapterError(
                f"found {key!r} of dtype {one.dtype} in {name}; expected {', '.join(TORCH_NAMES)}"
            )
    return adapter


def _check_types(found: Description, name: str) -> None:
    config = found.config
    for what, value, fits in (
        ("bits", found.bits, type(found.bits) is int and found.bits in DTYPES),
        ("config", config, isinstance(config, dict) and isinstance(config.get("peft_type"), str)),
        ("training", found.record, found.record is None or isinstance(found.record, dict)),
        ("dtype", found.dtype, found.dtype in ("F32", "F16", "BF16")),
        ("counts", found.counts, isinstance(found.counts, dict) and set(found.counts) == set(ROLES)),
    ):
        if not fits:
            raise AdapterError(
                f"found {name} with {what} {repr(value)[:80]}, which it cannot be; pack it again"
            )


def _check_sizes(
    found: Description, stored: Mapping[str, Stored], name: str, each: Mapping[Role, int] | None
) -> None:
    """As many coefficients and scales as the description says, and no scale that cannot be. Where modules differ, the
    coefficients are counted when they are decoded."""
    modules = module_names.count(found.patterns)
    if each is not None:
        length = modules * sum(places(each[role], found.bits) for role in ROLES)
    elif modules > MOST_MODULES:
        raise AdapterError(f"found {modules:,} modules in {name}; expected at most {MOST_MODULES:,}")
    else:
        length = prod(stored[COEFFICIENTS].shape) if COEFFICIENTS in stored else 0
    expected = {COEFFICIENTS: (DTYPES[found.bits], (length,)), SCALES: ("F32", (modules, 2))}
    for key in (COEFFICIENTS, SCALES)[: 1 + (found.bits <= 8)]:
        one = stored.get(key)
        if one is None or (one.dtype, one.shape) != expected[key]:
            shown = "nothing" if one is None else f"{one.dtype} of shape {one.shape}"
            raise AdapterError(
                f"found {shown} for the {key} of {name}; {modules} modules of {found.bits} bits have "
                f"{expected[key][0]} of shape {expected[key][1]}: modules are missing, or too many"
            )
    if found.bits <= 8:
        scales = np.frombuffer(stored[SCALES].data, "<f4")
        if not (np.isfinite(scales) & (scales >= 0)).all():
            raise AdapterError(
                f"found a scale in {name} that is negative or not finite; pack the adapter again"
            )
