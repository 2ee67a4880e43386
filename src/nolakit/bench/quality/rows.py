"""Rows of a JSONL file, and an even part of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nolakit.errors import DataError


def read_rows(path: Path, count: int) -> list[dict[str, Any]]:
    """`count` rows spread evenly over a file, or all that it has.

    Raises:
        DataError: no such file, or a line that is not JSON.
    """
    if not path.is_file():
        raise DataError(f"found no file {path.name!r} in {str(path.parent)!r}; expected a split in JSONL")
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = lines if count >= len(lines) else [lines[place * len(lines) // count] for place in range(count)]
    try:
        return [json.loads(line) for line in kept]
    except json.JSONDecodeError as error:
        raise DataError(f"found a line in {str(path)!r} that is not JSON: {error}") from error
