"""How a request chooses its tokens: as transformers' `generate` with the same options.

Each processor of transformers sees one row of the batch, so what one request asks for changes no other's tokens.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from nolakit.errors import RequestError

MOST_LOGPROBS = 20


@dataclass(frozen=True)
class Sampling:
    """Options under the names that transformers gives them.

    max_new_tokens: at most so many tokens; the context's end comes first.
    temperature: 0 takes the likeliest token each time, and then top_k, top_p and min_p mean nothing.
    top_k: sample from so many likeliest tokens; 0 from all.
    top_p: sample from the likeliest tokens of this total probability.
    min_p: sample from tokens of at least this share of the likeliest one's probability.
    repetition_penalty: divides the logits of tokens that were there.
    seed: of this request's own generator; None takes a fresh one. The same seed gives what `torch.manual_seed(seed)`
        before `generate` gives.
    ignore_eos: go on behind an end token.
    logprobs: report the probability of each token, and of so many likeliest ones; None reports nothing.

    Raises:
        RequestError: a value out of its range.
    """

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    ignore_eos: bool = False
    logprobs: int | None = None

    def __post_init__(self) -> None:
        ranges = {
            "max_new_tokens": (self.max_new_tokens >= 1, "at least 1"),
            "temperature": (0 <= self.temperature <= 100, "0 to 100"),
            "top_k": (self.top_k >= 0, "at least 0"),
            "top_p": (0 < self.top_p <= 1, "above 0, up to 1"),
            "min_p": (0 <= self.min_p <= 1, "0 to 1"),
            "repetition_penalty": (0 < self.repetition_penalty <= 100, "above 0, up to 100"),
            "seed": (self.seed is None or 0 <= self.seed < 1 << 63, "0 to 2^63 - 1"),
            "logprobs": (
                self.logprobs is None or 0 <= self.logprobs <= MOST_LOGPROBS,
                f"0 to {MOST_LOGPROBS}",
            ),
        }
        for name, (holds, expected) in ranges.items():
            if not holds:
                raise RequestError(f"found {name}={getattr(self, name)!r}; expected {expected}")


class Chooser:
    """Chooses the tokens of one request. A greedy one without a penalty needs none: it takes the largest logit."""

    def __init__(self, sampling: Sampling, device: torch.device) -> None:
        self.samples = sampling.temperature > 0
        self.plain = not self.samples and sampling.repetition_penalty == 1.0
        self.processors = LogitsProcessorList(_processors(sampling))
        seed = secrets.randbits(63) if sampling.seed is None else sampling.seed
        self.generator = torch.Generator(device).manual_seed(seed) if self.samples else None

    def choose(self, ids: list[int], logits: torch.Tensor) -> int:
        """The next token behind `ids`. # shape of logits: (vocabulary,) float32"""
        history = torch.tensor([ids], device=logits.device)
        scores: Any = self.processors(history, logits[None])  # pyright: ignore[reportArgumentType]
        if not self.samples:
            return int(scores.argmax())
        return int(torch.multinomial(scores.softmax(-1), 1, generator=self.generator))


def _processors(sampling: Sampling) -> list[Any]:
    """In transformers' order."""
    found: list[Any] = []
    if sampling.repetition_penalty != 1.0:
        found.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    if sampling.temperature == 0:
        return found
    if sampling.temperature != 1.0:
        found.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        found.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1.0:
        found.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p:
        found.append(MinPLogitsWarper(sampling.min_p))
    return found
