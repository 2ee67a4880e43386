"""What can be seen of a running engine."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


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
    """A slot of factors. digest: None of a free one. running: requests in the batch that use it."""

    digest: str | None
    name: str | None
    running: int


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
