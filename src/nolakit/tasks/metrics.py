"""Metrics that do not depend on how rows fall into batches.

classification: loss = mean of -log p(label); accuracy; macro_f1 over the classes that occur
causal-lm: loss = -log p over all predicted tokens / their number; perplexity = exp(loss); token_accuracy
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from nolakit.tasks.texts import IGNORED

BEST = {"causal-lm": "loss", "text-classification": "accuracy", "image-classification": "accuracy"}


def summarize_classes(logits: Any, labels: torch.Tensor) -> torch.Tensor:
    """Per row: loss and predicted class. # shape: (batch, classes), (batch,) -> (batch, 2)"""
    logits = (logits[0] if isinstance(logits, tuple) else logits).float()
    return torch.stack([F.cross_entropy(logits, labels, reduction="none"), logits.argmax(-1).float()], dim=1)


def summarize_tokens(logits: Any, labels: torch.Tensor) -> torch.Tensor:
    """Per row: summed loss, correct and counted tokens; logits before the first label (of virtual tokens) are
    left out. # shape: (batch, length, vocabulary), (batch, length) -> (batch, 3)"""
    logits = (logits[0] if isinstance(logits, tuple) else logits)[:, -labels.shape[1] :][:, :-1].float()
    expected = labels[:, 1:]
    losses = F.cross_entropy(logits.transpose(1, 2), expected, ignore_index=IGNORED, reduction="none")
    counted = expected != IGNORED
    correct = (logits.argmax(-1) == expected) & counted
    return torch.stack([losses.sum(1), correct.sum(1), counted.sum(1)], dim=1).double()


def class_metrics(summary: Any, labels: Any) -> dict[str, float]:
    """Metrics from the rows of `summarize_classes`."""
    predicted = summary[:, 1].astype(int)
    return {
        "loss": float(summary[:, 0].mean(dtype=np.float64)),
        "accuracy": float((predicted == labels).mean()),
        "macro_f1": macro_f1(predicted, labels),
    }


def token_metrics(summary: Any, labels: Any) -> dict[str, float]:
    """Metrics from the rows of `summarize_tokens`."""
    losses, correct, counted = summary.astype(np.float64).sum(0)
    loss = float(losses / counted)
    return {
        "loss": loss,
        "perplexity": math.exp(loss) if loss < 700 else math.inf,
        "token_accuracy": float(correct / counted),
    }


def macro_f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes c that occur of 2 |predicted c and label c| / (|predicted c| + |label c|)."""
    scores = [
        2 * np.sum((predicted == c) & (labels == c)) / (np.sum(predicted == c) + np.sum(labels == c))
        for c in np.union1d(predicted, labels)
    ]
    return float(np.mean(scores))
