"""One total of trained numbers, spread over an adapter's factors.

    k_i = min(cap_i, max(1, floor(p w_i / 2^40)))    for the largest integer p with sum_i k_i <= total

so that each factor has numbers in proportion to its weight w_i, at least one and at most as many as its entries. What
is left goes to the factors whose count would grow at p + 1, in their order: by canonical path, lora_A before lora_B.
All in integers, so that every reader finds the same counts.

A weight is the factor's entries (by size), 1 (equal), or its module's in `budget_weights`, such as the measured energy
of the loss's gradient (by gradient).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from nolakit.errors import ConfigError
from nolakit.methods.options import check_positive_integer
from nolakit.methods.site import Factor

KINDS = ("size", "equal", "gradient")
LARGEST_WEIGHT = 999  # of a module, as it is stored: three digits
UNIT_BITS = 40  # of p, which is below 2^LARGEST_BITS
LARGEST_BITS = 70
MOST_FACTORS = 1 << 15  # that one total is spread over, so that a file costs its reader a second at most


@dataclass(frozen=True)
class Budget:
    """How many numbers an adapter trains in total, and what decides each factor's share.

    weights: of the modules, in the order of their canonical paths, integers of 0 to 999; with `by` "gradient" alone.
    """

    total: int
    by: str = "size"
    weights: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        check_positive_integer("budget", self.total)
        if self.by not in KINDS:
            raise ConfigError(f"found budget_by={self.by!r}; expected one of {', '.join(KINDS)}")
        if not all(type(one) is int and 0 <= one <= LARGEST_WEIGHT for one in self.weights or ()):
            raise ConfigError(
                f"found budget_weights={repr(self.weights)[:80]}; expected integers of 0 to {LARGEST_WEIGHT}"
            )

    @classmethod
    def from_options(cls, total: int | None, by: str | None, weights: Any) -> Budget | None:
        """The budget of a configuration's three fields; None where there is none.

        Weights that are still by path count once an adapter is attached, which puts them in order.

        Raises:
            ConfigError: values that no budget has.
        """
        if total is None:
            if by is not None or weights is not None:
                raise ConfigError(
                    f"found budget_by={by!r} without a budget; expected one, such as budget=100_000"
                )
            return None
        by = by or ("size" if weights is None else "gradient")
        given = isinstance(weights, Sequence | Mapping) and not isinstance(weights, str)
        if weights is not None and not (given and by == "gradient"):
            raise ConfigError(
                f"found budget_weights={repr(weights)[:80]} and budget_by={by!r}; expected weights of modules "
                "by path, with budget_by='gradient'"
            )
        return cls(total, by, tuple(weights) if isinstance(weights, Sequence) else None)

    def counts(self, entries: Mapping[Factor, int]) -> dict[Factor, int]:
        """Trained numbers of each factor.

        Args:
            entries: how many each may have at most, in order; those of none are left out.

        Raises:
            ConfigError: fewer numbers than factors, or not a weight for each module.
        """
        factors = [factor for factor, most in entries.items() if most]
        caps = [entries[factor] for factor in factors]
        if not len(factors) <= min(self.total, MOST_FACTORS):
            raise ConfigError(
                f"found budget={self.total:,} for {len(factors):,} factors; expected a number for each at least, "
                f"and no more than {MOST_FACTORS:,} factors: take fewer target_modules or a larger budget"
            )
        return dict(zip(factors, _spread(self.total, self._weights(factors, caps), tuple(caps)), strict=True))

    def _weights(self, factors: Sequence[Factor], caps: Sequence[int]) -> tuple[int, ...]:
        if self.by != "gradient":
            return tuple(caps) if self.by == "size" else (1,) * len(caps)
        paths = sorted({factor.path for factor in factors})
        if self.weights is None or len(self.weights) != len(paths):
            raise ConfigError(
                f"found {len(self.weights or ())} budget_weights for {len(paths)} modules; expected one for each: "
                "nolakit.gradient_energy measures them, and `nolakit train` does"
            )
        by_path = dict(zip(paths, self.weights, strict=True))
        return tuple(by_path[factor.path] for factor in factors)


def spread(total: int, weights: Sequence[int], caps: Sequence[int]) -> list[int]:
    """Counts k_i of the module's equation, which add up to `total` where neither caps nor zero weights prevent it.

    Args:
        total: at least len(caps).
        weights: integers, not negative.
        caps: the most of each, at least 1.

    Cost: some 40 operations for each pair of a weight and a cap that differs from the others.
    """
    pairs = Counter(zip(weights, caps, strict=True))

    def at(p: int, weight: int, cap: int) -> int:
        return min(cap, max(1, weight * p >> UNIT_BITS))

    low, high = 0, 1 << LARGEST_BITS
    while high - low > 1:  # by halves of the exponent, and then of the rest
        middle = (low + high) // 2 if high < 4 * low else 1 << (low.bit_length() + high.bit_length()) // 2
        middle = max(low + 1, min(middle, high - 1))
        found = sum(number * at(middle, *pair) for pair, number in pairs.items())
        low, high = (middle, high) if found <= total else (low, middle)
        if found == total:
            break  # a larger p of this total has the same counts
    counts = [at(low, *pair) for pair in zip(weights, caps, strict=True)]
    left = total - sum(counts)
    for place, pair in enumerate(zip(weights, caps, strict=True)):
        if left and at(low + 1, *pair) > counts[place]:
            counts[place], left = counts[place] + 1, left - 1
    return counts


@lru_cache(maxsize=8)
def _spread(total: int, weights: tuple[int, ...], caps: tuple[int, ...]) -> list[int]:
    return spread(total, weights, caps)  # once for an adapter, however often it is bound


def stored_weights(weights: Mapping[str, float], paths: Sequence[str]) -> list[int]:
    """Weights as they are stored: integers in the order of the canonical paths, the largest 999.

    Raises:
        ConfigError: a module without a weight, a weight that is negative or not finite, or none above zero.
    """
    missing = [path for path in paths if path not in weights]
    if missing:
        raise ConfigError(
            f"found no budget weight for module {missing[0]!r}; expected one for each adapted module"
        )
    values = [float(weights[path]) for path in sorted(paths)]
    largest = max(values, default=0.0)
    if not largest > 0 or not all(math.isfinite(value) and value >= 0 for value in values):
        raise ConfigError(
            "found budget weights that are negative, not finite or all zero; expected positive numbers"
        )
    return [round(LARGEST_WEIGHT * (value / largest)) for value in values]
