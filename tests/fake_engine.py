"""An engine and an encoder without a model: the same interface, answers that a test can foresee.

The base repeats the prompt for ever; an adapter says the first four digits of its digest before. Tokens are bytes of
`byte_tokenizer`. `hold` stops the engine after as many steps as a test lets it take.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from nolakit.errors import EngineClosedError, QueueFullError, RequestError
from nolakit.serve.request import Event, Finished, Handle, Token
from nolakit.serve.sampling import Sampling
from nolakit.serve.watching import Observer, Slot, Stats
from nolakit.store.store import Store

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
SPECIAL = ["<eos>", "<user>", "<assistant>"]
CHAT = (
    "{% for m in messages %}{% if m.role == 'system' and not loop.first %}{{ raise_exception('system comes first') }}"
    "{% endif %}<{{ 'user' if m.role != 'assistant' else 'assistant' }}>{{ m.content }}{% endfor %}<assistant>"
)


def byte_tokenizer(*, chat: bool = True) -> PreTrainedTokenizerFast:
    """A token is a byte, so that most characters are of several tokens."""
    vocabulary = {letter: number for number, letter in enumerate([*ALPHABET, *SPECIAL])}
    inner = Tokenizer(models.BPE(vocabulary, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(SPECIAL)
    made = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>", pad_token="<eos>")
    if chat:
        made.chat_template = CHAT
    return made


class _Request:
    def __init__(self, handle: Handle, says: list[int], sampling: Sampling) -> None:
        self.handle, self.says, self.sampling, self.tokens = handle, says, sampling, list[Token]()
        self.submitted = time.monotonic()


class FakeEngine:
    """One thread that gives every running request a token a step."""

    eos = len(ALPHABET)

    def __init__(
        self, store: Store, tokenizer: PreTrainedTokenizerFast, *, max_length: int = 4096, max_queue: int = 64,
        max_batch: int = 16, observer: Observer | None = None,
    ) -> None:  # fmt: skip
        self.store, self.max_length = store, max_length
        self.cancelled: list[list[int]] = []  # prompts of requests that were
        self.forgotten: list[str] = []
        self.submitting = threading.Event()
        self.submitting.set()  # cleared, submit waits
        self._tokenizer, self._max_queue, self._max_batch = tokenizer, max_queue, max_batch
        self._observer = observer or Observer()
        self._waiting: deque[_Request] = deque()
        self._running: list[_Request] = []
        self._known: dict[str, str] = {}
        self._counts = dict.fromkeys(("requests", "prompt", "generated", "hits", "misses"), 0)
        self._steps: int | None = None  # None is any number
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def submit(
        self,
        prompt: Sequence[int],
        adapter: str | None = None,
        sampling: Sampling | None = None,
        *,
        on_event: Callable[[Event], None] | None = None,
    ) -> Handle:
        self.submitting.wait()
        sampling = sampling or Sampling()
        if not 0 < len(prompt) < self.max_length:
            raise RequestError(f"found a prompt of {len(prompt)} tokens; expected 1 to {self.max_length - 1}")
        if max(prompt) >= len(self._tokenizer):
            raise RequestError(f"found token {max(prompt)}; expected less than {len(self._tokenizer)}")
        digest = None if adapter is None else self.store.get(adapter).digest
        says = [] if digest is None else self._tokenizer(digest[:4])["input_ids"]
        handle = Handle(list(prompt), digest, on_event)
        request = _Request(handle, [*says, *prompt], sampling)
        with self._changed:
            if self._closed:
                raise EngineClosedError("found the engine closed")
            if len(self._waiting) >= self._max_queue:
                raise QueueFullError(f"found {self._max_queue} requests waiting; try again later")
            if digest is not None:
                self._counts["hits" if digest in self._known else "misses"] += 1
                self._known[digest] = str(adapter)
            self._waiting.append(request)
            self._changed.notify_all()
        return handle

    def hold(self, steps: int = 0) -> None:
        """Take no more than so many steps from now on."""
        with self._changed:
            self._steps = steps
            self._changed.notify_all()

    def go(self) -> None:
        """Take any number of steps."""
        with self._changed:
            self._steps = None
            self._changed.notify_all()

    def wait_for(self, holds: Callable[[FakeEngine], bool], seconds: float = 20) -> None:
        """Wait until something is so."""
        with self._changed:
            assert self._changed.wait_for(lambda: holds(self), seconds)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> int:
        return len(self._running)

    def forget(self, digest: str) -> None:
        self._known.pop(digest, None)
        self.forgotten.append(digest)

    def stats(self) -> Stats:
        with self._changed:
            slots = [
                Slot(digest, name, sum(r.handle.digest == digest for r in self._running))
                for digest, name in self._known.items()
            ]
            free = [Slot(None, None, 0)] * (8 - len(slots))
            counts = self._counts
            return Stats(
                (*slots, *free), counts["hits"], counts["misses"], 0, 0.002 * counts["misses"], len(self._known),
                1000 * len(self._known), len(self._waiting), len(self._running), counts["requests"],
                counts["prompt"], counts["generated"],
            )  # fmt: skip

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def __enter__(self) -> FakeEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._may_step(), 0.05)
                if self._closed:
                    ended = [*self._running, *self._waiting]
                    break
                left = [r for r in (*self._running, *self._waiting) if r.handle.cancelled]
                for request in left:
                    (self._running if request in self._running else self._waiting).remove(request)
                    self.cancelled.append(request.handle.prompt)
                step = self._may_step() and self._steps != 0
                if step:
                    self._steps = None if self._steps is None else self._steps - 1
                    while self._waiting and len(self._running) < self._max_batch:
                        self._running.append(self._waiting.popleft())
                        self._observer.admitted(hit=True, waited=0.0)
                batch = list(self._running) if step else []
            for request in left:
                self._end(request, "cancelled")
            for request in batch:
                self._step(request)
            with self._changed:
                self._changed.notify_all()
        for request in ended:
            request.handle.report(EngineClosedError("found the engine closed"))

    def _may_step(self) -> bool:
        return (bool(self._running) or bool(self._waiting)) and self._steps != 0

    def _step(self, request: _Request) -> None:
        asked = request.sampling
        number = request.says[len(request.tokens) % len(request.says)]
        if number == self.eos and not asked.ignore_eos:
            self._end(request, "stop")
            return
        token = Token(number)
        if asked.logprobs is not None:
            top = tuple(((number + rank) % 256, -0.5 - rank) for rank in range(asked.logprobs))
            token = Token(number, -0.5, top)
        if not request.tokens:
            self._observer.first_token(time.monotonic() - request.submitted)
        request.tokens.append(token)
        request.handle.report(token)
        self._counts["generated"] += 1
        if len(request.tokens) >= min(asked.max_new_tokens, self.max_length - len(request.handle.prompt)):
            self._end(request, "length")

    def _end(self, request: _Request, reason) -> None:
        with self._changed:
            if request in self._running:
                self._running.remove(request)
            self._counts["requests"] += 1
            self._counts["prompt"] += len(request.handle.prompt)
        spent = time.monotonic() - request.submitted
        self._observer.finished(reason, len(request.handle.prompt), len(request.tokens), spent)
        request.handle.report(Finished(tuple(request.tokens), reason))


class FakeEncoder:
    """Vectors of the prompt's first tokens and the adapter's digest."""

    def __init__(self, store: Store, *, max_queue: int = 4) -> None:
        self.store, self.max_length, self.most = store, 512, 0
        self.forgotten: list[str] = []
        self._max_queue, self._under_way, self._lock = max_queue, 0, threading.Lock()

    def embed(self, tokens: Sequence[int], adapter: str | None = None) -> Future[torch.Tensor]:
        vector = self._vector(tokens, adapter)
        return self._later(vector / vector.norm())

    def classify(self, tokens: Sequence[int], adapter: str | None = None) -> Future[torch.Tensor]:
        return self._later(self._vector(tokens, adapter)[:3])

    def forget(self, digest: str) -> None:
        self.forgotten.append(digest)

    def stats(self) -> Stats:
        return Stats((), 0, 0, 0, 0.0, 0, 0, 0, 0, 0, 0, 0)

    def close(self) -> None:
        pass

    def _vector(self, tokens: Sequence[int], adapter: str | None) -> torch.Tensor:
        if not 0 < len(tokens) <= self.max_length:
            raise RequestError(f"found {len(tokens)} tokens; expected 1 to {self.max_length}")
        number = 0 if adapter is None else int(self.store.get(adapter).digest[:2], 16)
        seed = np.random.default_rng([number, *tokens])
        return torch.from_numpy(seed.standard_normal(8).astype("f4"))

    def _later(self, result: torch.Tensor) -> Future[torch.Tensor]:
        future: Future[torch.Tensor] = Future()
        with self._lock:
            if self._under_way >= self._max_queue:
                raise QueueFullError(f"found {self._max_queue} requests waiting")
            self._under_way += 1
            self.most = max(self.most, self._under_way)

        def give() -> None:
            with self._lock:
                self._under_way -= 1
            if future.set_running_or_notify_cancel():
                future.set_result(result)

        threading.Timer(0.001, give).start()
        return future
