"""What an app serves: a base, its tokenizer, an engine or an encoder, and the threads that may wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, TypeVar
from weakref import WeakSet

from nolakit.errors import ConfigError, RequestError
from nolakit.serve.encoders import Encoder
from nolakit.serve.engine import Engine
from nolakit.serve.watching import Stats
from nolakit.store.store import Store

Task = Literal["causal-lm", "text-classification", "embeddings"]
TASKS: tuple[Task, ...] = ("causal-lm", "text-classification", "embeddings")
LONG = 32  # characters of a token
THREADS = 8  # each may hold a connection to the store
T = TypeVar("T")


class Cancellable(Protocol):
    """What runs in the engine for a client."""

    def cancel(self) -> None: ...


@dataclass
class Served:
    """One base with its adapters.

    Args:
        name: what requests call the base.
        runner: an Engine for causal-lm, an Encoder otherwise.
        tokenizer: the base's, of transformers.
        labels: names of a classifier's labels, for adapters whose own record has none.
        most_choices: continuations of one request, prompts times n.
    """

    name: str
    task: Task
    runner: Engine | Encoder
    tokenizer: Any
    labels: Sequence[str] = ()
    most_choices: int = 128
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(THREADS, "nolakit-http"), repr=False
    )
    under_way: WeakSet[Cancellable] = field(default_factory=WeakSet, repr=False)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ConfigError(f"found task {self.task!r}; expected one of {', '.join(TASKS)}")

    @cached_property
    def _longest(self) -> int:
        """Characters of a token at most, roughly where a normaliser drops some."""
        return max(LONG, max(map(len, self.tokenizer.get_vocab())))

    @property
    def store(self) -> Store:
        """The adapters."""
        return self.runner.store

    @property
    def engine(self) -> Engine:
        """The engine of a causal-lm."""
        assert self.task == "causal-lm"
        return self.runner  # pyright: ignore[reportReturnType]

    @property
    def encoder(self) -> Encoder:
        """The encoder of the other tasks."""
        assert self.task != "causal-lm"
        return self.runner  # pyright: ignore[reportReturnType]

    def stats(self) -> Stats:
        """What the engine or encoder says of itself."""
        return self.runner.stats()

    async def in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run what waits for a disk, a lock or a tokenizer outside of the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """The tokens of a text, without an end token that a language model's tokenizer sets behind it.

        Args:
            special: add the tokens that the tokenizer sets before and behind a text.

        Raises:
            RequestError: a text that the context cannot hold, which is not tokenised first; or no text.
        """
        most = self.runner.max_length * self._longest
        if len(text) > most:
            raise RequestError(
                f"found a text of {len(text):,} characters; expected at most {self.runner.max_length:,} tokens, which "
                f"are {most:,} characters at most"
            )
        try:
            ids = list(self.tokenizer(text, add_special_tokens=special)["input_ids"])
        except (UnicodeError, ValueError, TypeError) as error:
            raise RequestError(f"found a text that the tokenizer cannot take: {error}") from error
        ends = special and self.task == "causal-lm" and ids[-1:] == [self.tokenizer.eos_token_id]
        return ids[:-1] if ends else ids

    def cancel_all(self) -> None:
        """Cancel what runs for clients, who are told that the server ends."""
        for each in list(self.under_way):
            each.cancel()

    def close(self) -> None:
        """End the threads. The engine and the store are their makers'."""
        self._threads.shutdown(cancel_futures=True)
