"""Encoders with many adapters: classification and embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch

from nolakit.serve.watching import Observer, Stats
from nolakit.store.store import Store


class Encoder:
    """One forward pass a request, of any adapter of a store, beside one encoder.

    Args:
        base_model: a Hugging Face encoder: with a head (`...ForSequenceClassification`) for `classify`, any for `embed`.
        store: the adapters, or where they are.
        slots, max_batch, max_queue, max_length, max_rank, observer: as `nolakit.serve.Engine`.
    """

    def __init__(
        self,
        base_model: Any,
        store: Store | str | Path,
        *,
        slots: int = 16,
        max_batch: int = 16,
        max_queue: int = 256,
        max_length: int | None = None,
        max_rank: int = 64,
        observer: Observer | None = None,
    ) -> None:
        self.store: Store
        self.max_length: int
        raise NotImplementedError

    def embed(self, tokens: Sequence[int], adapter: str | None = None) -> Future[torch.Tensor]:
        """The mean of the last hidden states, normalised to length 1. # shape: (hidden,) float32. Raises as
        `Engine.submit`."""
        raise NotImplementedError

    def classify(self, tokens: Sequence[int], adapter: str | None = None) -> Future[torch.Tensor]:
        """The logits of the adapter's own head. # shape: (labels,) float32. Raises as `Engine.submit`."""
        raise NotImplementedError

    def forget(self, digest: str) -> None:
        """As `Engine.forget`."""
        raise NotImplementedError

    def stats(self) -> Stats:
        """As `Engine.stats`."""
        raise NotImplementedError

    def close(self) -> None:
        """As `Engine.close`."""
        raise NotImplementedError
