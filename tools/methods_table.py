"""Writes the table of methods into README.md from the registry: `python tools/methods_table.py`."""

from __future__ import annotations

from pathlib import Path

from nolakit import methods

README = Path(__file__).parents[1] / "README.md"
START, END = "<!-- methods: start -->\n", "<!-- methods: end -->\n"


def table() -> str:
    """One row a registered method."""
    rows = [
        "| method | configuration | update to W | trained numbers a module | source |",
        "|---|---|---|---|---|",
    ]
    for name in methods.names():
        method = methods.method_class(name)
        cells = (name, f"`{method.__name__}Config`", method.update, method.trained, method.source)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def with_table(text: str) -> str:
    """The README's text with the table between its two marks made anew."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return before + START + table() + END + after


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
