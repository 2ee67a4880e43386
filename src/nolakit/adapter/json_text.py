"""JSON that others wrote: text of one meaning, of bounded size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nolakit.errors import AdapterError

LARGEST_TEXT = 1 << 26  # bytes; configurations of a hundred thousand modules are a tenth of it


def parse_json(text: bytes | str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: no JSON in UTF-8, nested too deep, half a surrogate pair, or a name twice in one object, of which
            one reader takes the first and another the last.
    """
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        values = json.loads(decoded)
        if decoded.count(":") != _names(values):  # as many colons as names: none was twice
            values = json.loads(decoded, object_pairs_hook=_once)
        if "\\u" in decoded:
            json.dumps(values, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    return values


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object of a file. Raises AdapterError where it is not one."""
    try:
        size = path.stat().st_size
        if size > LARGEST_TEXT:
            raise AdapterError(f"found {str(path)!r} of {size:,} bytes; expected at most {LARGEST_TEXT:,}")
        values = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        if isinstance(error, AdapterError):
            raise
        raise AdapterError(f"found {str(path)!r}, which is not JSON text: {error}") from error
    if not isinstance(values, dict):
        raise AdapterError(f"found {str(path)!r} with a {type(values).__name__}; expected a JSON object")
    return values


def _names(values: Any) -> int:
    """How many names the objects of a value have."""
    found, left = 0, [values]
    for one in left:
        if type(one) is dict:
            found += len(one)
            left += one.values()
        elif type(one) is list:
            left += one
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has {twice[:80]!r} twice in one object")
    return found
