"""JSONL, CSV and text files as rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datasets import Dataset

from nolakit.errors import DataError

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".txt")


def read_rows(path: Path, text_unit: str = "line") -> Dataset:
    """The rows of a file, by its suffix. A text file has one column, `text`.

    Raises:
        DataError: another suffix, text that is not UTF-8, or a line that cannot be read, with its number.
    """
    readers = {".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".tsv": _csv}
    try:
        if path.suffix == ".txt":
            rows = [{"text": text} for text in _texts(path, text_unit)]
        elif path.suffix in readers:
            rows = list(readers[path.suffix](path))
        else:
            raise DataError(
                f"found {str(path)!r} with suffix {path.suffix!r}; expected one of {', '.join(SUFFIXES)}"
            )
    except UnicodeDecodeError as error:
        raise DataError(
            f"found {str(path)!r}, which is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from error
    try:
        return Dataset.from_list(rows)
    except Exception as error:  # pyarrow's errors share no base with datasets' own
        raise DataError(
            f"found {str(path)!r} with values of different types in one column: {error}. Make each column one type"
        ) from error


def _jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise DataError(
                        f"found line {number} of {str(path)!r}, which is not JSON: {error.msg}"
                    ) from error
                if not isinstance(row, dict):
                    raise DataError(
                        f"found line {number} of {str(path)!r}: {type(row).__name__}; expected an object"
                    )
                yield row


def _json(path: Path) -> Iterator[dict[str, Any]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(
            f"found {str(path)!r}, which is not JSON: {error}. One object a line is .jsonl"
        ) from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"found {str(path)!r}, which is not a list of objects; one object a line is .jsonl")
    yield from rows


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, delimiter="\t" if path.suffix == ".tsv" else ",", restkey="")
        for row in reader:
            if "" in row or None in row.values():
                raise DataError(
                    f"found row {reader.line_num} of {str(path)!r} with another number of fields than the header's "
                    f"{len(reader.fieldnames or [])}; quote the fields that hold the delimiter"
                )
            yield row


def _texts(path: Path, text_unit: str) -> list[str]:
    text = path.read_text(encoding="utf-8")
    documents = [text] if text_unit == "file" else text.splitlines()
    return [document for document in documents if document.strip()]
