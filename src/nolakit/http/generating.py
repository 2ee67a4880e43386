"""Requests to the engine on behalf of one HTTP request: started together, cancelled together.

    engine's thread --on_event--> event loop: queue of (choice, event) --> Decoding --> Stopping --> Piece

The engine never waits for a client: its events queue up here, at most max_new_tokens a choice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from nolakit.errors import EngineClosedError, RequestError
from nolakit.http.served import Served
from nolakit.http.texts import Decoding, Stopping
from nolakit.serve.request import Event, Finished, Handle, Token
from nolakit.serve.sampling import Sampling

SEEDS = 1 << 63
Placed = Sequence[tuple[Token, int]]  # tokens, each with where it starts in the text of its choice


@dataclass(frozen=True)
class Piece:
    """What became certain of one choice. tokens: those that the text is of. reason: of the last piece."""

    choice: int
    text: str
    tokens: Placed
    reason: Literal["stop", "length"] | None = None


class _Choice:
    """One continuation, from its tokens to its pieces."""

    def __init__(self, index: int, decoding: Decoding, stops: Sequence[str]) -> None:
        self.index, self.count, self.ended = index, 0, False
        self._decoding, self._stopping = decoding, Stopping(stops)
        self._decoded = self._sure = 0  # characters
        self._waiting: list[tuple[Token, int]] = []

    def add(self, event: Token | Finished) -> Piece | None:
        """The piece that a token or the end makes, if any."""
        if isinstance(event, Token):
            self.count += 1
            self._waiting.append((event, self._decoded))
            decoded = self._decoding.add(event.id)
            text = self._take(decoded)
            if self._stopping.stopped:
                return self._end(text, "stop")
            return self._piece(text) if text else None
        text = self._take(self._decoding.end())
        if not self._stopping.stopped:
            rest = self._stopping.end()
            self._sure += len(rest)
            text += rest
        if self._stopping.stopped or event.reason == "stop":
            return self._end(text, "stop")
        if event.reason == "cancelled":  # whoever does for a client that has gone does not wait for this
            raise EngineClosedError(
                "found the server ending before the answer was whole; send the request again"
            )
        return self._end(text, "length")

    def _take(self, decoded: str) -> str:
        self._decoded += len(decoded)
        text = self._stopping.add(decoded)
        self._sure += len(text)
        return text

    def _piece(self, text: str) -> Piece:
        ready = tuple(pair for pair in self._waiting if pair[1] < self._sure)
        self._waiting = self._waiting[len(ready) :]
        return Piece(self.index, text, ready)

    def _end(self, text: str, reason: Literal["stop", "length"]) -> Piece:
        self.ended = True
        if self._stopping.stopped:
            return replace(self._piece(text), reason=reason)
        ready, self._waiting = tuple(self._waiting), []
        return Piece(self.index, text, ready, reason)


class Generation:
    """All continuations that one HTTP request asks for.

    prompts: the tokens of each, to be set before `start`.
    fingerprint: `sha256:` and the digest of the adapter's content, which all of them have; None of the plain base.
    """

    def __init__(self, served: Served) -> None:
        self.prompts: Sequence[Sequence[int]] = ()
        self.fingerprint: str | None = None
        self._served, self._loop = served, asyncio.get_running_loop()
        self._events: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        self._handles: list[Handle] = []
        self._choices: list[_Choice] = []
        self._cancelled = False
        served.under_way.add(self)

    @property
    def choices(self) -> int:
        """How many continuations there are."""
        return len(self._choices)

    @property
    def prompt_tokens(self) -> int:
        """Of all prompts, each counted once."""
        return sum(len(prompt) for prompt in self.prompts)

    @property
    def generated_tokens(self) -> int:
        """Of all choices, so far."""
        return sum(choice.count for choice in self._choices)

    def start(self, adapter: str | None, sampling: Sampling, n: int, stops: Sequence[str]) -> None:
        """Submit n requests for each of `prompts`, all or none; called in a thread that may wait. Raises as
        `Engine.submit`."""
        total, most = len(self.prompts) * n, self._served.most_choices
        if total > most:
            raise RequestError(
                f"found {len(self.prompts)} prompts with n={n}; expected at most {most} continuations of one request"
            )
        try:
            for index in range(total):
                prompt, seed = self.prompts[index // n], sampling.seed
                own = None if seed is None else (seed + index % n) % SEEDS
                self._choices.append(_Choice(index, Decoding(self._served.tokenizer, prompt), stops))
                handle = self._served.engine.submit(
                    prompt, adapter, replace(sampling, seed=own), on_event=self._report(index)
                )
                self._handles.append(handle)
                if handle.digest is not None:  # one content for all, whatever the name means in a moment
                    adapter = self.fingerprint = f"sha256:{handle.digest}"
        except BaseException:
            self.cancel()
            raise
        if self._cancelled:
            self.cancel()

    def cancel(self) -> None:
        """End what still runs."""
        self._cancelled = True
        for handle in list(self._handles):
            handle.cancel()

    async def pieces(self) -> AsyncIterator[Piece]:
        """Text as it becomes certain, choices mixed. Raises what the engine reports of any of them."""
        left = len(self._choices)
        try:
            while left:
                index, event = await self._events.get()
                choice = self._choices[index]
                if choice.ended:
                    continue
                if isinstance(event, Exception):
                    raise event
                piece = choice.add(event)
                if piece is not None:
                    yield piece
                if choice.ended:
                    left -= 1
                    self._handles[index].cancel()  # a stop string was found before the end
        finally:  # an error of one choice ends the others
            self.cancel()

    def _report(self, index: int) -> Callable[[Event], None]:
        def report(event: Event) -> None:
            with suppress(RuntimeError):  # the event loop has ended
                self._loop.call_soon_threadsafe(self._events.put_nowait, (index, event))

        return report
