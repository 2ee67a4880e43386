"""The rows that were measured: a JSONL file that grows by whole lines, so that an interrupted benchmark goes on."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from nolakit.bench.quality.task import Row
from nolakit.errors import DataError

KEY = ("task", "form", "size", "candidate", "settings", "lr", "head_lr", "seed", "split")


class Results:
    """A file of rows.

    Raises:
        DataError: a line that is not a row.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._lock = path, threading.Lock()
        self.rows: list[Row] = []
        self._by_key: dict[str, Row] = {}
        if path.is_file():
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                try:
                    self._keep(json.loads(line))
                except (ValueError, KeyError, TypeError) as error:
                    raise DataError(
                        f"found line {number} of {str(path)!r}, which is not a row of results: {error!r}; remove it"
                    ) from error

    def find(self, key: dict[str, Any]) -> Row | None:
        """The row of a run that was done already."""
        return self._by_key.get(_text(key))

    def add(self, row: Row) -> None:
        """Keep a row, in memory and in the file."""
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            self._keep(row)

    def _keep(self, row: Row) -> None:
        self._by_key[_text({name: row[name] for name in KEY})] = row
        self.rows.append(row)


def _text(key: dict[str, Any]) -> str:
    return json.dumps([key[name] for name in KEY], sort_keys=True)
