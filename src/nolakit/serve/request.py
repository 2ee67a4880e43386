"""A request to generate, as its caller holds it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

Reason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Token:
    """One generated token. logprob: natural logarithm of its probability before temperature and filters, where it was
    asked for; top: the likeliest tokens with theirs, likeliest first."""

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Finished:
    """All that a request generated.

    tokens: without the token that ended it.
    reason: `stop` at an end token, `length` at max_new_tokens or the end of the context, or `cancelled`.
    """

    tokens: tuple[Token, ...]
    reason: Reason

    @property
    def ids(self) -> list[int]:
        """The ids of the tokens."""
        return [token.id for token in self.tokens]


Event = Token | Finished | Exception


class Handle:
    """A request under way. Iterating gives its tokens as they come, and raises what went wrong.

    digest: SHA-256 of the adapter's content, hexadecimal; None of the plain base. A later version under the same name
    does not change a request that is under way.
    """

    def __init__(
        self, prompt: list[int], digest: str | None, on_event: Callable[[Event], None] | None = None
    ) -> None:
        self.prompt, self.digest = prompt, digest
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._on_event = on_event
        self._cancelled, self._done = threading.Event(), threading.Event()
        self._end: Finished | Exception | None = None

    def cancel(self) -> None:
        """Stop as soon as the step under way is over. May be called at any time, from any thread, and twice."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled.is_set()

    def result(self, timeout: float | None = None) -> Finished:
        """Wait for the end. Raises what went wrong, and TimeoutError after `timeout` seconds."""
        if not self._done.wait(timeout):
            raise TimeoutError(
                f"found the request still running after {timeout} seconds; wait longer or cancel it"
            )
        if isinstance(self._end, Finished):
            return self._end
        assert self._end is not None
        raise self._end

    def __iter__(self) -> Iterator[Token]:
        while True:
            event = self._events.get()
            if isinstance(event, Token):
                yield event
                continue
            self._events.put(event)  # for whoever iterates again
            if isinstance(event, Exception):
                raise event
            return

    def report(self, event: Event) -> None:
        """Called by the engine's thread. What comes behind the end is dropped."""
        if self._end is not None:
            return
        if not isinstance(event, Token):
            self._end = event
            self._done.set()
        self._events.put(event)
        if self._on_event is not None:
            self._on_event(event)
