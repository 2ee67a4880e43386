"""Encoders with many adapters: classification and embeddings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from nolakit.errors import AdapterError, RequestError
from nolakit.serve.serving import Serving
from nolakit.serve.watching import Observer, Watch
from nolakit.store.store import Store

Kind = Literal["embed", "classify"]


@dataclass(eq=False)
class Text:
    """A text to encode."""

    kind: Kind
    tokens: list[int]
    digest: str | None
    name: str | None
    watch: Watch
    slot: int = 0
    submitted: float = field(default_factory=time.perf_counter)
    future: Future[torch.Tensor] = field(default_factory=Future)

    @property
    def cancelled(self) -> bool:
        """Whether its caller has gone."""
        return self.future.cancelled()

    def give_up(self) -> None:
        """End as cancelled."""
        self._end("cancelled")

    def fail(self, error: Exception) -> None:
        """End with an error."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)
        self._end("error")

    def finish(self, result: torch.Tensor) -> None:
        """End with the result."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(result)
        self._end("stop")

    def _end(self, outcome: str) -> None:
        self.watch.finished(outcome, len(self.tokens), 0, time.perf_counter() - self.submitted)


class Encoder(Serving[Text]):
    """One forward pass a request, of any adapter of a store, beside one encoder.

    Heads that adapters trained whole replace the base's, each with its own number of labels, where they are linear
    layers.

    Args:
        base_model: a Hugging Face encoder, with a head (`...ForSequenceClassification`) for `classify`.
        store: the adapters, or where they are.
        slots, max_batch, max_queue, max_length, max_rank, observer: as `nolakit.serve.Engine`.

    Raises:
        ConfigError: a size that cannot be.
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
        super().__init__(
            base_model, store, slots=slots, max_batch=max_batch, max_queue=max_queue, max_length=max_length,
            max_rank=max_rank, observer=observer, heads=True,
        )  # fmt: skip
        self._model = base_model
        self._batch: list[Text] = []
        self._start()

    def embed(
        self, tokens: Sequence[int], adapter: str | None = None, *, wait: bool = False
    ) -> Future[torch.Tensor]:
        """The mean of the last hidden states, normalised to length 1. # shape: (hidden,) float32. Raises as
        `Engine.submit`; the future raises AdapterError for what is not finite."""
        return self._submit("embed", tokens, adapter, wait=wait)

    def classify(
        self, tokens: Sequence[int], adapter: str | None = None, *, wait: bool = False
    ) -> Future[torch.Tensor]:
        """The logits of the adapter's own head, of the base's where it has none. # shape: (labels,) float32. Raises as
        `embed`, and RequestError where the base has no head."""
        if getattr(self._model.config, "architectures", None) is None and not hasattr(
            self._model, "classifier"
        ):
            raise RequestError("found a base without a head; load one for sequence classification")
        return self._submit("classify", tokens, adapter, wait=wait)

    def _submit(
        self, kind: Kind, tokens: Sequence[int], adapter: str | None, *, wait: bool
    ) -> Future[torch.Tensor]:
        ids, digest = self._prepare(tokens, adapter, self.max_length, wait=wait)
        text = Text(kind, ids, digest, adapter, self._watch)
        self._queue(text, wait=wait)
        return text.future

    def _step(self) -> bool:
        self._batch = self._admission.admit(self.max_batch)
        if not self._batch:
            return False
        for kind in ("embed", "classify"):
            texts = [text for text in self._batch if text.kind == kind]
            if texts:
                self._encode(kind, texts)
        self._admission.release(self._batch)
        self._batch = []
        return True

    def _encode(self, kind: Kind, texts: list[Text]) -> None:
        start = time.perf_counter()
        try:
            results = self._results(kind, texts)
        except Exception as error:
            for text in texts:
                text.fail(error)
            return
        for text, result in zip(texts, results, strict=True):
            if result.isfinite().all():
                text.finish(result)
            else:
                text.fail(AdapterError(
                    f"found a result that is not finite, of {text.name or 'the base'!r}; its update is too large for "
                    f"{self._model.dtype}"
                ))  # fmt: skip
        self._watch.stepped(0, time.perf_counter() - start)

    def _results(self, kind: Kind, texts: list[Text]) -> list[torch.Tensor]:
        width = max(len(text.tokens) for text in texts)
        ids, mask = (torch.zeros(len(texts), width, dtype=torch.long) for _ in range(2))
        for row, there, text in zip(ids, mask, texts, strict=True):
            row[: len(text.tokens)] = torch.tensor(text.tokens)
            there[: len(text.tokens)] = 1
        device, mixture = self._model.device, self._residency.mixture
        ids, mask = ids.to(device), mask.to(device)
        mixture.choose([text.slot for text in texts])
        if kind == "classify":
            logits = self._model(input_ids=ids, attention_mask=mask).logits.float().cpu()
            own = self._model.config.num_labels
            return [row[: mixture.labels(text.slot) or own] for row, text in zip(logits, texts, strict=True)]
        hidden = self._model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return list(torch.nn.functional.normalize(mean, dim=-1).cpu())

    def _running(self) -> int:
        return len(self._batch)

    def _end(self, error: Exception) -> None:
        for text in self._batch:
            text.fail(error)
