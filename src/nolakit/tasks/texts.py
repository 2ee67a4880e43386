"""Texts as token rows: for a classifier, and for a language model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from nolakit.errors import DataError
from nolakit.tasks.columns import Columns

IGNORED = -100  # the label that transformers' losses leave out
Row = dict[str, Any]


@dataclass
class Encoded:
    """Rows for the Trainer, and how many of them lost tokens to `max_length`."""

    rows: list[Row]
    truncated: int = 0


def encode_classified(
    data: Dataset, column: str, labels: list[int] | None, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> Encoded:
    """Rows of `input_ids`, `attention_mask` and `labels`."""
    ids = tokenizer(texts_of(data, column))["input_ids"]
    truncated = sum(len(row) > max_length for row in ids)
    batch = tokenizer(texts_of(data, column), truncation=True, max_length=max_length)
    rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
    for row, label in zip(rows, labels or [None] * len(rows), strict=True):
        row["labels"] = label
    return Encoded(rows, truncated)


def encode_language(
    data: Dataset, columns: Columns, tokenizer: PreTrainedTokenizerBase, max_length: int, separator: str
) -> Encoded:
    """Rows of `input_ids` and `labels` for next-token prediction.

    A document is its text and the end-of-text token, in pieces of `max_length`. With prompt and completion
    the prompt's labels are ignored; a row that is too long loses the start of its prompt, then the end of
    its completion.

    Raises:
        DataError: no token is left to learn from.
    """
    end: list[int] = [tokenizer.eos_token_id] if isinstance(tokenizer.eos_token_id, int) else []
    if columns.text_column:
        documents = [ids + end for ids in _open_ids(texts_of(data, columns.text_column), tokenizer)]
        pieces = [ids[i : i + max_length] for ids in documents for i in range(0, len(ids), max_length)]
        encoded = Encoded([{"input_ids": ids, "labels": list(ids)} for ids in pieces if len(ids) > 1])
    else:
        encoded = _encode_pairs(data, columns, tokenizer, max_length, separator, end)
    if not any(label != IGNORED for row in encoded.rows for label in row["labels"][1:]):
        raise DataError("found no token to learn from; expected texts (or completions) of at least one token")
    return encoded


def join_prompt(prompt: str, separator: str) -> str:
    """The prompt as the model reads it: ended by white space, its own or the separator."""
    return prompt if not prompt or prompt[-1].isspace() else prompt + separator


def texts_of(data: Dataset, column: str) -> list[str]:
    """A column of text. Raises DataError where a row holds none."""
    values = data[column][:]
    for number, value in enumerate(values, start=1):
        if not isinstance(value, str):
            raise DataError(f"found {value!r} in row {number} of column {column!r}; expected text")
    return values


def _encode_pairs(
    data: Dataset,
    columns: Columns,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    separator: str,
    end: list[int],
) -> Encoded:
    assert columns.prompt_column and columns.completion_column
    prompts = [join_prompt(prompt, separator) for prompt in texts_of(data, columns.prompt_column)]
    completions = tokenizer(texts_of(data, columns.completion_column), add_special_tokens=False)["input_ids"]
    encoded = Encoded([])
    for prompt, completion in zip(_open_ids(prompts, tokenizer), completions, strict=True):
        answer = (completion + end)[:max_length]
        question = prompt[max(0, len(prompt) + len(answer) - max_length) :]
        encoded.truncated += len(prompt) + len(completion) + len(end) > max_length
        encoded.rows.append({"input_ids": question + answer, "labels": [IGNORED] * len(question) + answer})
    return encoded


def _open_ids(texts: list[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Token ids with the tokenizer's own opening tokens but without its closing one."""
    ids = tokenizer(texts)["input_ids"]
    return [row[:-1] if row and row[-1] == tokenizer.eos_token_id else row for row in ids]
