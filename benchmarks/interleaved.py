"""Candidates timed in turn, A B C A B C ..., so that a machine whose speed drifts is fair to all of them.

Each starts after a rest, longer than OpenMP's threads spin for more work: else the library that runs second shares
its cores with threads of the one before.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

REST = 0.02  # seconds


@dataclass
class Timing:
    """Seconds of one candidate's runs."""

    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def ratio_to(self, other: Timing) -> float:
        """Median over the rounds of this candidate's time over the other's in the same round."""
        return statistics.median(a / b for a, b in zip(self.seconds, other.seconds, strict=True))


def interleaved(
    candidates: dict[str, Callable[[], object]], *, rounds: int, warm_up: int = 1, calls: int = 1
) -> dict[str, Timing]:
    """Time every candidate once a round.

    Args:
        candidates: what to call, by name.
        rounds: counted rounds.
        warm_up: rounds that are not counted.
        calls: of a candidate behind each other in a round, where one is too short to time; their mean is kept, and
            one before them, which finds the cores asleep, is not counted.
    """
    timings = {name: Timing() for name in candidates}
    for counted in [False] * warm_up + [True] * rounds:
        for name, call in candidates.items():
            time.sleep(REST)
            if calls > 1:
                call()
            start = time.perf_counter()
            for _ in range(calls):
                call()
            if counted:
                timings[name].seconds.append((time.perf_counter() - start) / calls)
    return timings
