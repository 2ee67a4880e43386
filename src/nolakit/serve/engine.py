"""The engine: continuous batching over slots of expanded factors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from nolakit.errors import UnsupportedError
from nolakit.serve.batch import Batch
from nolakit.serve.request import Event, Finished, Handle
from nolakit.serve.row import Row
from nolakit.serve.sampling import Chooser, Sampling
from nolakit.serve.serving import Serving
from nolakit.serve.watching import Observer
from nolakit.store.store import Store


class Engine(Serving[Row]):
    """Generates with any adapter of a store beside one causal language model.

    A thread of its own runs the model. The base gets forward hooks while the engine is open, and nothing else of it
    changes; nobody else may run it meanwhile.

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

    Raises:
        ConfigError: a size that cannot be.
        UnsupportedError: a model that keeps something else than keys and values, as Mamba does.

    Memory: factors of slots * rank * (in + out) numbers an adapted module; the packed bytes of every adapter that was
    used; keys and values of max_batch rows, as long as the longest row under way.
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
        _check_cache(base_model)
        super().__init__(
            base_model, store, slots=slots, max_batch=max_batch, max_queue=max_queue, max_length=max_length,
            max_rank=max_rank, observer=observer, heads=False,
        )  # fmt: skip
        eos = _end_tokens(base_model) if eos_token_ids is None else eos_token_ids
        self._batch = Batch(base_model, self._residency.mixture, max_batch, self.max_length, eos, self._watch)
        self._start()

    def submit(
        self,
        prompt: Sequence[int],
        adapter: str | None = None,
        sampling: Sampling | None = None,
        *,
        on_event: Callable[[Event], None] | None = None,
        wait: bool = False,
    ) -> Handle:
        """Queue a request; returns at once.

        Args:
            prompt: token ids, at least one.
            adapter: a reference in the store (`name`, `name@3`, `name:tag`, `sha256:<digest>`); None is the plain base.
            sampling: None is greedy.
            on_event: called in the engine's thread with each Token, and at the end with Finished or the error.
            wait: where as many requests wait as may, wait too.

        Raises:
            RequestError: an empty or oversized prompt, or token ids that the model does not have.
            QueueFullError: as many requests wait as may.
            EngineClosedError: the engine was closed.
            StoreNameError, EntryNotFoundError, StoreDamagedError: as `Store.get`.
            AdapterError, UnsupportedError, BaseMismatchError: an adapter that this base or this engine cannot take.
        """
        ids, digest = self._prepare(prompt, adapter, self.max_length - 1, wait=wait)
        sampling = sampling or Sampling()
        handle = Handle(ids, digest, on_event)
        chooser = Chooser(sampling, self._batch.model.device)
        self._queue(Row(handle, adapter, sampling, chooser, self._watch), wait=wait)
        return handle

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        adapters: Sequence[str | None] | None = None,
        sampling: Sampling | None = None,
    ) -> list[Finished]:
        """Submit all, wait for room where there is none, and wait for all. Raises as `submit`, and what went wrong."""
        names = [None] * len(prompts) if adapters is None else adapters
        handles: list[Handle] = []
        try:
            for prompt, name in zip(prompts, names, strict=True):
                handles.append(self.submit(prompt, name, sampling, wait=True))
            return [handle.result() for handle in handles]
        except BaseException:
            for handle in handles:
                handle.cancel()
            raise

    def _step(self) -> bool:
        joining = self._admission.admit(self.max_batch - len(self._batch.rows))
        ended = self._batch.join(joining) + self._batch.step()
        self._admission.release(ended)
        return bool(self._batch.rows or ended)

    def _running(self) -> int:
        return len(self._batch.rows)

    def _end(self, error: Exception) -> None:
        self._admission.release(self._batch.clear(error))


def _end_tokens(model: Any) -> list[int]:
    found = model.generation_config.eos_token_id
    return [] if found is None else [found] if isinstance(found, int) else list(found)


def _check_cache(model: Any) -> None:
    others = {type(layer).__name__ for layer in DynamicCache(config=model.config).layers}
    others -= {kind.__name__ for kind in (DynamicLayer, *DynamicLayer.__subclasses__())}
    if others:
        raise UnsupportedError(
            f"found a model that keeps {', '.join(sorted(others))} between tokens; an engine serves models that keep "
            "keys and values: merge its adapters and serve each by itself"
        )
