"""The tables and plots of a document, from rows: what stands between two marks is written anew."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from nolakit.bench.quality import answers
from nolakit.bench.quality.answers import shown, table
from nolakit.bench.quality.plots import plot
from nolakit.bench.quality.summary import Summary, front, rows_of, summaries
from nolakit.bench.quality.task import Row, Task
from nolakit.bench.quality.tasks import TASKS

BEGIN, END = "<!-- nolakit bench quality -->", "<!-- end -->"
QUESTIONS = {
    "At what fraction of LoRA r=1's numbers does NOLA match it?": answers.fractions,
    "Which method is best at 1 KB, 10 KB and 100 KB?": answers.fronts,
    "And by the numbers alone, 16 bits each?": answers.fronts_of_numbers,
    "Does sharing the basis cost quality?": answers.shared,
    "What do 8 and 4 bits cost?": answers.bits,
    "What does each part of NOLA do?": answers.ablations,
}


def write_report(rows: Sequence[Row], document: Path) -> list[Path]:
    """Put tables and plots of the rows into a document, which is made where there is none.

    Returns:
        The files that were written.
    """
    document.parent.mkdir(parents=True, exist_ok=True)
    written, parts = [document], []
    for form in ("full", "small"):
        found = {task: summaries(rows, task, form) for task in TASKS.values()}
        found = {task: each for task, each in found.items() if each}
        if not found:
            continue
        parts.append(f"## Answers, {form} form\n")
        for question, answer in QUESTIONS.items():
            text = answer(found)
            if text.count("\n") > 2:  # more than a head
                parts.append(f"### {question}\n\n{text}")
        parts.append(f"## All results, {form} form\n")
        for task, each in found.items():
            picture = document.with_name(
                f"{document.stem}-{task.name}{'' if form == 'small' else '-full'}.svg"
            )
            plot(task, each, picture)
            written.append(picture)
            parts.append(_section(task, form, each, picture.name, rows_of(rows, task, form)))
    parts.append(_versions(rows))
    old = document.read_text(encoding="utf-8") if document.is_file() else f"# Quality\n\n{BEGIN}\n{END}\n"
    head, _, rest = old.partition(BEGIN)
    text = "\n".join(parts)
    document.write_text(f"{head}{BEGIN}\n\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    return written


def _section(task: Task, form: str, found: Sequence[Summary], picture: str, rows: Sequence[Row]) -> str:
    best = {summary.name for summary in front(task, [s for s in found if s.name not in answers.UNADAPTED])}
    lines = [
        [
            f"**{s.name}**" if s.name in best else s.name, f"{s.trained:,}", f"{s.bytes:,}", f"{s.lr:g}",
            shown(task, s.mean, s.deviation) if math.isfinite(s.mean) else "diverged", str(len(s.values)),
            f"{s.seconds:.1f}", f"{s.peak / 1e6:,.0f}", *_texts(s, rows),
        ]
        for s in sorted(found, key=lambda s: (s.bytes, s.trained))
    ]  # fmt: skip
    size = task.size(form == "small")
    head = next((s.head for s in found if s.head), 0)
    unit = "accuracy, %" if task.higher else "loss"
    columns = [
        "candidate",
        "trained",
        "bytes",
        "rate",
        unit,
        "seeds",
        "seconds",
        "MB",
        *_texts_head(rows),
    ]
    refused = {row["candidate"]: row["refused"] for row in rows if "refused" in row}
    return (
        f"### {task.title}\n\n{size.steps} steps of {size.batch} rows"
        + (f"; beside each method a head of {head:,} numbers" if head else "")
        + f". Bold: on the Pareto front.\n\n![{task.title}]({picture})\n\n{table(columns, lines)}"
        + "".join(f"\n{name}: refused. {reason}\n" for name, reason in refused.items())
    )


def _texts_head(rows: Sequence[Row]) -> list[str]:
    return next((list(row["texts"]) for row in rows if "texts" in row), [])


def _texts(summary: Summary, rows: Sequence[Row]) -> list[str]:
    mine = [
        row["texts"]
        for row in rows
        if (row["candidate"], row["lr"]) == (summary.name, summary.lr) and "texts" in row
    ]
    return [f"{sum(one[name] for one in mine) / len(mine):.3g}" if mine else "" for name in _texts_head(rows)]


def _versions(rows: Sequence[Row]) -> str:
    said = dict.fromkeys(
        ", ".join(f"{name} {value}" for name, value in row["versions"].items()) for row in rows
    )
    return f"{len(rows):,} runs. Measured with: {'; '.join(said)}.\n"
