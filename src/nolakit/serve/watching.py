"""What can be seen of a running engine."""

from __future__ import annotations

import logging
import threading
from dataclasses import asdict, dataclass
from typing import Any

LOG = logging.getLogger(__name__)


class Observer:
    """Told of what happens, in the engine's own threads: keep it short. Each method may be overridden."""

    def admitted(self, *, hit: bool, waited: float) -> None:
        """A request joined the batch after so many seconds in the queue; hit: its factors were in a slot already."""

    def expanded(self, seconds: float) -> None:
        """An adapter's factors were made."""

    def evicted(self) -> None:
        """A slot lost its adapter to another."""

    def first_token(self, seconds: float) -> None:
        """A request had its first token so many seconds after it was submitted."""

    def stepped(self, tokens: int, seconds: float) -> None:
        """A forward pass of the whole batch gave so many tokens."""

    def finished(self, reason: str, prompt_tokens: int, tokens: int, seconds: float) -> None:
        """A request ended; reason is `stop`, `length`, `cancelled` or `error`."""


@dataclass(frozen=True)
class Slot:
    """A slot of factors. digest: None of a free one. running: requests in the batch that use it. pinned: whether it
    stays though nobody uses it."""

    digest: str | None
    name: str | None
    running: int
    pinned: bool = False


@dataclass(frozen=True)
class Stats:
    """Counts since the start, and what is so now.

    hits, misses: requests whose adapter was in a slot when they were admitted, or was not; the plain base counts as
        neither.
    known: adapters whose coefficients are in memory; known_bytes: what they take there.
    expand_seconds: spent on expanding, in all.
    """

    slots: tuple[Slot, ...]
    hits: int
    misses: int
    evictions: int
    expand_seconds: float
    known: int
    known_bytes: int
    waiting: int
    running: int
    requests: int
    prompt_tokens: int
    generated_tokens: int

    @property
    def hit_rate(self) -> float:
        """Hits among the requests for an adapter; 0.0 before the first."""
        return self.hits / max(1, self.hits + self.misses)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


class Watch:
    """Counts, and tells the observer. An observer that raises is logged, and harms no request."""

    def __init__(self, observer: Observer | None) -> None:
        self._observer, self._lock = observer or Observer(), threading.Lock()
        self.hits = self.misses = self.evictions = self.requests = self.prompt_tokens = (
            self.generated_tokens
        ) = 0
        self.expand_seconds = 0.0

    def admitted(self, *, hit: bool | None, waited: float) -> None:
        """hit: None of the plain base."""
        with self._lock:
            self.hits += hit is True
            self.misses += hit is False
        self._tell("admitted", hit=hit is not False, waited=waited)

    def expanded(self, seconds: float) -> None:
        with self._lock:
            self.expand_seconds += seconds
        self._tell("expanded", seconds)

    def evicted(self) -> None:
        with self._lock:
            self.evictions += 1
        self._tell("evicted")

    def first_token(self, seconds: float) -> None:
        self._tell("first_token", seconds)

    def stepped(self, tokens: int, seconds: float) -> None:
        with self._lock:
            self.generated_tokens += tokens
        self._tell("stepped", tokens, seconds)

    def finished(self, reason: str, prompt_tokens: int, tokens: int, seconds: float) -> None:
        with self._lock:
            self.requests += 1
            self.prompt_tokens += prompt_tokens
        self._tell("finished", reason, prompt_tokens, tokens, seconds)

    def stats(self, slots: tuple[Slot, ...], known: tuple[int, int], waiting: int, running: int) -> Stats:
        """All of it at one moment."""
        with self._lock:
            return Stats(
                slots, self.hits, self.misses, self.evictions, self.expand_seconds, *known, waiting, running,
                self.requests, self.prompt_tokens, self.generated_tokens,
            )  # fmt: skip

    def _tell(self, event: str, *args: Any, **kwargs: Any) -> None:
        try:
            getattr(self._observer, event)(*args, **kwargs)
        except Exception:
            LOG.exception("the observer's %s failed", event)
