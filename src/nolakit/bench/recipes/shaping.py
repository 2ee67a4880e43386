"""Columns that are not yet a task's: an instruction and its input as a prompt, two texts as one."""

from __future__ import annotations

from collections.abc import Callable

from datasets import Dataset

from nolakit.errors import DataError
from nolakit.tasks.models import load_tokenizer

INSTRUCTION = (
    "Below is an instruction that describes a task{paired}. Write a response that appropriately completes the request."
    "\n\n### Instruction:\n{instruction}\n\n{context}### Response:\n"
)
PAIRS = (("sentence1", "sentence2"), ("question", "sentence"), ("premise", "hypothesis"), ("text1", "text2"))


def _alpaca(rows: Dataset, model: str) -> Dataset:
    """`prompt` and `completion` of instruction, input and output."""
    _check(rows, ("instruction", "output"))
    inputs = rows["input"] if "input" in rows.column_names else [""] * len(rows)
    prompts = [
        INSTRUCTION.format(
            paired=", paired with an input that provides further context" if text else "",
            instruction=instruction,
            context=f"### Input:\n{text}\n\n" if text else "",
        )
        for instruction, text in zip(rows["instruction"], inputs, strict=True)
    ]
    return Dataset.from_dict({"prompt": prompts, "completion": rows["output"][:]})


def _pairs(rows: Dataset, model: str) -> Dataset:
    """`text` of two texts and the tokenizer's mark between them, beside the other columns."""
    first, second = next((pair for pair in PAIRS if set(pair) <= set(rows.column_names)), PAIRS[0])
    _check(rows, (first, second))
    mark = load_tokenizer(model).sep_token or "\n"
    between = mark * 2 if mark == "</s>" else f" {mark} "  # RoBERTa has two
    texts = [one + between + other for one, other in zip(rows[first], rows[second], strict=True)]
    return rows.remove_columns([first, second]).add_column("text", texts)  # pyright: ignore[reportCallIssue]


def _check(rows: Dataset, columns: tuple[str, ...]) -> None:
    missing = [name for name in columns if name not in rows.column_names]
    if missing:
        raise DataError(
            f"found no column {missing[0]!r} among {', '.join(rows.column_names)}; expected {', '.join(columns)}"
        )


SHAPES: dict[str, Callable[[Dataset, str], Dataset]] = {"alpaca": _alpaca, "pairs": _pairs}
