"""Writes the table of checks in docs/methods-contract.md from `nolakit.testing`: `python tools/contract_table.py`."""

from __future__ import annotations

import inspect
from pathlib import Path

from nolakit.testing import CHECKS

PAGE = Path(__file__).parents[1] / "docs" / "methods-contract.md"
START, END = "<!-- checks: start -->\n", "<!-- checks: end -->\n"


def table() -> str:
    """One row a check: its name and its docstring."""
    rows = ["| check | what has to hold |", "|---|---|"]
    rows += [
        f"| `{check.__name__}` | {' '.join((inspect.getdoc(check) or '').split())} |" for check in CHECKS
    ]
    return "\n".join(rows) + "\n"


def with_checks(text: str) -> str:
    """The page with its table made anew."""
    before, rest = text.split(START)
    return before + START + table() + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(with_checks(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
