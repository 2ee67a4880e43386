"""Put the sweep's tables between their marks in docs/demo.md: `python sweep_table.py`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

from row import Row

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "demo.md"
FIRST_SEED = 0


def learning_rate_table(rows: Sequence[Row]) -> str:
    """Validation accuracy of every learning rate tried, as Markdown; the chosen one is in bold."""
    lines = ["| method | learning rate: validation accuracy |", "|---|---|"]
    for title, tried in by_title(row for row in rows if row.seed == FIRST_SEED).items():
        best = max(tried, key=lambda row: (row.validation_accuracy, -row.lr))
        cells = [
            ("**{}**" if row is best else "{}").format(f"{row.lr:g}: {row.validation_accuracy:.1%}")
            for row in sorted(tried, key=lambda row: row.lr)
        ]
        lines.append(f"| {title} | {', '.join(cells)} |")
    return "\n".join(lines)


def result_table(rows: Sequence[Row]) -> str:
    """Test results at the chosen learning rates, mean and standard deviation over seeds, as Markdown."""
    lines = [
        "| method | trained | + head | file bytes | test accuracy | macro F1 | seeds |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for title, found in by_title(rows).items():
        best = max(
            (row for row in found if row.seed == FIRST_SEED),
            key=lambda row: (row.validation_accuracy, -row.lr),
        )
        runs = [row for row in found if row.lr == best.lr]
        lines.append(
            f"| {title} | {best.trained:,} | {best.trained_head:,} | {best.file_bytes:,} "
            f"| {spread([100 * row.accuracy for row in runs], 1)} "
            f"| {spread([row.macro_f1 for row in runs], 3)} | {len(runs)} |"
        )
    return "\n".join(lines)


def by_title(rows) -> dict[str, list[Row]]:
    """Rows grouped by their title, in the order in which titles first come."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.title, []).append(row)
    return groups


def spread(values: Sequence[float], digits: int) -> str:
    """Mean and sample standard deviation; the mean alone for a single value."""
    deviation = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{digits}f}{deviation}"


def fill(text: str, name: str, table: str) -> str:
    """The document with what stands between the marks of `name` replaced."""
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"found no marks {begin.strip()!r} and {end!r} in order; add both to the document")
    return f"{before}{begin}{table}\n{end}{after}"


def main() -> None:
    """Rewrite the document."""
    from sweep import read_rows

    rows = read_rows()
    text = DOCUMENT.read_text(encoding="utf-8")
    text = fill(text, "learning rates", learning_rate_table(rows))
    DOCUMENT.write_text(fill(text, "results", result_table(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
