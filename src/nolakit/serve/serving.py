"""What an engine and an encoder have in common: a store, slots, a queue, and the thread that runs the model."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, Self

import torch

from nolakit.errors import ConfigError, EngineClosedError, RequestError
from nolakit.serve.admission import Admission, Waiter
from nolakit.serve.base import Base
from nolakit.serve.openmp import release_workers
from nolakit.serve.residency import Residency
from nolakit.serve.watching import Observer, Stats, Watch
from nolakit.store.store import Store

PATIENCE = 4  # times max_batch: so many later requests may overtake one whose adapter has no slot yet


class Serving(ABC, Generic[Waiter]):
    """Runs a model in a thread of its own. The base gets forward hooks while this is open, and nothing else of it
    changes; nobody else may run it meanwhile."""

    def __init__(
        self,
        base_model: Any,
        store: Store | str | Path,
        *,
        slots: int,
        max_batch: int,
        max_queue: int,
        max_length: int | None,
        max_rank: int,
        observer: Observer | None,
        heads: bool,
    ) -> None:
        sizes = {"slots": slots, "max_batch": max_batch, "max_queue": max_queue, "max_rank": max_rank}
        wrong = {name: size for name, size in sizes.items() if size < 1}
        if wrong:
            raise ConfigError(f"found {wrong}; expected at least 1 of each")
        self.store = store if isinstance(store, Store) else Store(store)
        self.max_length = _context(base_model, max_length)
        self.max_batch = max_batch
        self._vocabulary: int = base_model.get_input_embeddings().weight.shape[0]
        self._watch, self._wake = Watch(observer), threading.Event()
        self._residency = Residency(
            Base(base_model), self.store, slots=slots, max_rank=max_rank, heads=heads, watch=self._watch,
            wake=self._wake.set,
        )  # fmt: skip
        self._admission: Admission[Waiter] = Admission(
            self._residency, self._watch, max_queue, PATIENCE * max_batch
        )
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="nolakit-serve", daemon=True)

    def forget(self, digest: str) -> None:
        """Drop an adapter's coefficients from memory and its slot, as soon as no request needs them."""
        self._residency.retire(digest)
        self._wake.set()

    def pin(self, adapter: str) -> str:
        """Have what a reference means in a slot from now on, whoever needs slots. Returns its digest, for `unpin`.

        Raises as `submit`, and ConfigError where no slot would be left for others.
        """
        return self._residency.keep(adapter)

    def unpin(self, digest: str) -> None:
        """Let an adapter lose its slot to others again."""
        self._residency.let_go(digest)

    def stats(self) -> Stats:
        """Counts, and what is in the slots."""
        residency = self._residency
        return self._watch.stats(
            residency.slots(), residency.known, len(self._admission.waiting), self._running()
        )

    def close(self) -> None:
        """End the requests under way with EngineClosedError, and the threads; the store stays open."""
        self._closed = True
        self._wake.set()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def _step(self) -> bool:
        """Whether there may be more to do at once."""

    @abstractmethod
    def _running(self) -> int:
        """Requests in the batch."""

    @abstractmethod
    def _end(self, error: Exception) -> None:
        """End the requests in the batch."""

    def _prepare(
        self, tokens: Sequence[int], adapter: str | None, longest: int, *, wait: bool
    ) -> tuple[list[int], str | None]:
        """Checked tokens, and the digest of an adapter that is known from now on."""
        ids = self._checked(tokens, longest)
        if self._closed:
            raise closed()
        self._admission.waiting.check_room(wait=wait)
        return ids, None if adapter is None else self._residency.know(adapter)

    def _queue(self, request: Waiter, *, wait: bool) -> None:
        self._admission.waiting.put(request, wait=wait)
        self._wake.set()

    def _checked(self, tokens: Sequence[int], longest: int) -> list[int]:
        ids = list(tokens)
        if not ids or len(ids) > longest:
            raise RequestError(f"found a prompt of {len(ids)} tokens; expected 1 to {longest}")
        wrong = next((id for id in ids if not isinstance(id, int) or not 0 <= id < self._vocabulary), None)
        if wrong is not None:
            raise RequestError(
                f"found the token {wrong!r}; expected whole numbers from 0 below {self._vocabulary}"
            )
        return ids

    def _start(self) -> None:
        release_workers()  # this thread has done its part
        self._thread.start()

    def _run(self) -> None:
        with torch.inference_mode():
            while not self._closed:
                self._wake.clear()
                if not self._step():
                    release_workers()  # until there is something to do
                    self._wake.wait()
        self._end(closed())
        self._admission.close(closed())
        self._residency.close()


def closed() -> EngineClosedError:
    """What requests of a closed engine get."""
    return EngineClosedError("found the engine closed; make another one")


def _context(model: Any, wanted: int | None) -> int:
    config = model.config.get_text_config()
    found = getattr(config, "max_position_embeddings", None)
    if wanted is None:
        if not isinstance(found, int):
            raise ConfigError("found no context length in the model's configuration; give max_length")
        return found
    if wanted < 2 or (isinstance(found, int) and wanted > found):
        raise ConfigError(f"found max_length={wanted}; expected 2 to the model's {found}")
    return wanted
