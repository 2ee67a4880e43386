"""Rows as padded batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from nolakit.tasks.images import open_image
from nolakit.tasks.texts import IGNORED

Collate = Callable[[list[dict[str, Any]]], dict[str, Any]]


def text_collator(tokenizer: PreTrainedTokenizerBase) -> Collate:
    """Classified texts: the tokenizer pads, labels become one tensor. # shape: (batch,)"""

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        inputs = [{key: value for key, value in row.items() if key != "labels"} for row in rows]
        batch = tokenizer.pad(inputs, return_tensors="pt")
        batch["labels"] = torch.tensor([row["labels"] for row in rows])
        return dict(batch)

    return collate


def language_collator(pad: int) -> Collate:
    """Token rows, padded on the right. # shape: (batch, length)"""

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        length = max(len(row["input_ids"]) for row in rows)
        lengths = [length - len(row["input_ids"]) for row in rows]
        pairs = list(zip(rows, lengths, strict=True))
        return {
            "input_ids": torch.tensor([row["input_ids"] + [pad] * short for row, short in pairs]),
            "attention_mask": torch.tensor([[1] * (length - short) + [0] * short for short in lengths]),
            "labels": torch.tensor([row["labels"] + [IGNORED] * short for row, short in pairs]),
        }

    return collate


def image_collator(processor: Any) -> Collate:
    """Images, opened and processed batch by batch. # shape: (batch, channels, height, width)"""

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch = processor([open_image(row["image"]) for row in rows], return_tensors="pt")
        return {
            "pixel_values": batch["pixel_values"],
            "labels": torch.tensor([row["labels"] for row in rows]),
        }

    return collate
