"""Load an adapter in a process of its own and predict: `python prediction.py ADAPTER DATA OUT`.

OUT becomes a JSON object with the predicted labels of every row, through the adapter ("loaded") and with
the adapter merged into the base's weights ("merged"). The batches are those of the training's evaluation.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import task  # noqa: F401 - sets transformers offline before it is imported
import torch
from progress import bar

from nolakit.tasks.loading import load_trained
from nolakit.tasks.models import load_tokenizer
from nolakit.tasks.quiet import quiet


def predict(adapter: Path, texts: list[str], *, merged: bool) -> list[str]:
    """The predicted label of each text."""
    with quiet():
        trained = load_trained(adapter, merged=merged)
        tokenizer = load_tokenizer(trained.base)
    size, length = trained.record.settings["batch_size"], trained.record.max_length
    labels = trained.record.labels or []
    predicted: list[str] = []
    with bar() as progress, torch.inference_mode():
        title = "new process: " + ("merged" if merged else "loaded")
        for start in progress.track(range(0, len(texts), size), description=title):
            batch = tokenizer(
                texts[start : start + size],
                truncation=True,
                max_length=length,
                padding=True,
                return_tensors="pt",
            )
            predicted += [labels[best] for best in trained.model(**batch).logits.argmax(-1).tolist()]
    return predicted


def accuracy(predicted: list[str], expected: list[str]) -> float:
    """Share of equal labels, rounded as `comparison.Row` rounds it."""
    return round(sum(a == b for a, b in zip(predicted, expected, strict=True)) / len(expected), 6)


def main(adapter: Path, data: Path, out: Path) -> None:
    """Predict the rows of `data` twice and write both lists."""
    texts = [json.loads(line)["text"] for line in data.read_text(encoding="utf-8").splitlines()]
    found = {
        name: predict(adapter, texts, merged=merged) for name, merged in (("loaded", False), ("merged", True))
    }
    out.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
