"""The search for a learning rate, the same for every method: half decades, as far as the best is at an edge."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

MOST = 9  # rates that are tried


def half_decades(lr: float) -> int:
    """The exponent whose rate is nearest: 0.01 is -4."""
    return round(2 * math.log10(lr))


def first_rates(common: Sequence[int], own: float, last: int | None) -> list[int]:
    """Where a search starts: the task's rates, which are every method's, and the method's own where that is further
    out; behind another budget of the same family, the neighbourhood of what was best there."""
    near = {half_decades(own)} if last is None else {last - 1, last, last + 1}
    return sorted({*common, *near})


def best_rate(value: Callable[[int], tuple[float, ...]], first: Sequence[int]) -> int:
    """The exponent of the largest value, whose first part is minus infinity where a run diverged. Where that has a
    neighbour that was not tried, it is tried next."""
    values = {exponent: value(exponent) for exponent in first}
    while len(values) < MOST:
        best = max(values, key=values.__getitem__)
        beyond = next((each for each in (best + 1, best - 1) if each not in values), None)
        if beyond is None or values[best][0] == -math.inf:
            break
        values[beyond] = value(beyond)
    return max(values, key=values.__getitem__)
