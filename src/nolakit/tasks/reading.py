"""How a task reads rows: what training settled, and what evaluation must do again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from datasets import Dataset

from nolakit.tasks.collate import Collate, image_collator, language_collator, text_collator
from nolakit.tasks.columns import Columns
from nolakit.tasks.images import open_image
from nolakit.tasks.labels import encode_labels, label_texts
from nolakit.tasks.models import load_image_processor, load_tokenizer
from nolakit.tasks.texts import Encoded, encode_classified, encode_language

USUAL_LENGTH = 512


@dataclass
class Reader:
    """Encodes rows and puts them into batches.

    Args:
        task: one of `TASKS`.
        columns: which columns to read.
        labels: the label names, in the order of the head's outputs; None for a language model.
        processor: the base's tokenizer or image processor.
        max_length: tokens a row.
        separator: between prompt and completion.
    """

    task: str
    columns: Columns
    labels: list[str] | None
    processor: Any
    max_length: int
    separator: str

    def encode(self, rows: Dataset) -> Encoded:
        """Rows for the Trainer.

        Raises:
            DataError: a row that cannot be read, or a label that training did not see.
        """
        if self.labels is None:
            return encode_language(rows, self.columns, self.processor, self.max_length, self.separator)
        assert self.columns.text_column and self.columns.label_column
        labels = encode_labels(label_texts(rows, self.columns.label_column), self.labels)
        if self.task == "text-classification":
            return encode_classified(rows, self.columns.text_column, labels, self.processor, self.max_length)
        images = rows[self.columns.text_column]
        open_image(images[0])  # a wrong column is found before training
        return Encoded([{"image": images[i], "labels": label} for i, label in enumerate(labels)])

    def collator(self) -> Collate:
        """Puts encoded rows into a batch."""
        if self.task == "causal-lm":
            return language_collator(self.processor.pad_token_id)
        return (text_collator if self.task == "text-classification" else image_collator)(self.processor)


def load_processor(task: str, base: str) -> Any:
    """The tokenizer or image processor of a base model. Raises ModelError where there is none."""
    return load_image_processor(base) if task == "image-classification" else load_tokenizer(base)


def row_length(processor: Any, config: Any, wanted: int | None) -> int:
    """Tokens a row: as wanted, within what tokenizer and model can take; without a wish at most 512."""
    limits = [getattr(processor, "model_max_length", None), getattr(config, "max_position_embeddings", None)]
    return min([wanted or USUAL_LENGTH, *(limit for limit in limits if limit and limit > 1)])
