"""The last minutes of an engine, for people to look at."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nolakit.serve.watching import Stats

SAMPLES = 300


@dataclass(frozen=True)
class Sample:
    """One moment. time: seconds since 1970; rates are of the time since the sample before; None where nothing
    happened that could be measured."""

    time: float
    waiting: int
    running: int
    tokens_per_second: float
    requests_per_second: float
    hit_rate: float | None
    first_token_median: float | None
    first_token_p95: float | None


class History:
    """The newest samples.

    Args:
        stats: asked for counts at each sample.
        first_tokens: gives the times to the first token since it was last called.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        stats: Callable[[], Stats],
        first_tokens: Callable[[], list[float]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stats, self._first_tokens, self._clock = stats, first_tokens, clock
        self._samples: deque[Sample] = deque(maxlen=SAMPLES)
        self._before: tuple[float, Stats] = clock(), stats()

    def sample(self) -> None:
        """Take a sample."""
        now, stats = self._clock(), self._stats()
        (then, before), self._before = self._before, (now, stats)
        seconds = max(now - then, 1e-3)
        hits, misses = stats.hits - before.hits, stats.misses - before.misses
        firsts = sorted(self._first_tokens())
        self._samples.append(
            Sample(
                time=now,
                waiting=stats.waiting,
                running=stats.running,
                tokens_per_second=(stats.generated_tokens - before.generated_tokens) / seconds,
                requests_per_second=(stats.requests - before.requests) / seconds,
                hit_rate=hits / (hits + misses) if hits + misses else None,
                first_token_median=_quantile(firsts, 0.5),
                first_token_p95=_quantile(firsts, 0.95),
            )
        )

    def columns(self) -> dict[str, list[Any]]:
        """The samples, a list of each field, oldest first."""
        rows = [asdict(sample) for sample in list(self._samples)]
        return {name: [row[name] for row in rows] for name in Sample.__dataclass_fields__}


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    """The value that this share of them does not exceed."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else None
