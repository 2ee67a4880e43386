"""The engine: continuous batching over slots of expanded factors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nolakit.serve.request import Event, Finished, Handle
from nolakit.serve.sampling import Sampling
from nolakit.serve.watching import Observer, Stats
from nolakit.store.store import Store


class Engine:
    """Generates with any adapter of a store beside one causal language model.

    Args:
        base_model: a Hugging Face causal LM, on its device, in evaluation mode.
        store: the adapters, or where they are.
        slots: adapters whose factors are in memory at once, and at most so many distinct ones in a batch.
        max_batch: requests in the batch at once.
        max_queue: requests that wait for it at most.
        max_length: tokens of a request, prompt and generated; None is the model's context.
        max_rank: the largest rank that an adapter may have.
        eos_token_ids: that end a request; None takes the model's generation configuration.
        observer: told of what happens.
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
        eos_token_ids: Sequence[int] | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.store: Store
        self.max_length: int
        raise NotImplementedError

    def submit(
        self,
        prompt: Sequence[int],
        adapter: str | None = None,
        sampling: Sampling | None = None,
        *,
        on_event: Callable[[Event], None] | None = None,
    ) -> Handle:
        """Queue a request; returns at once.

        Args:
            prompt: token ids, at least one.
            adapter: a reference in the store (`name`, `name@3`, `name:tag`, `sha256:<digest>`); None is the plain base.
            sampling: None is greedy.
            on_event: called in the engine's thread with each Token, and at the end with Finished or the error.

        Raises:
            RequestError: an empty or oversized prompt, or token ids that the model does not have.
            QueueFullError: as many requests wait as may.
            EngineClosedError: the engine was closed.
            StoreNameError, EntryNotFoundError, StoreDamagedError: as `Store.get`.
            AdapterError, UnsupportedError, BaseMismatchError: an adapter that this base or this engine cannot take.
        """
        raise NotImplementedError

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        adapters: Sequence[str | None] | None = None,
        sampling: Sampling | None = None,
    ) -> list[Finished]:
        """Submit all, wait for room where there is none, and wait for all."""
        raise NotImplementedError

    def forget(self, digest: str) -> None:
        """Drop an adapter's coefficients from memory and, once no request uses it, its slot."""
        raise NotImplementedError

    def stats(self) -> Stats:
        """Counts, and what is in the slots."""
        raise NotImplementedError

    def close(self) -> None:
        """End the requests under way with EngineClosedError, and the threads; the store stays open."""
        raise NotImplementedError

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
