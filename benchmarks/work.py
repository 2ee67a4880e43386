"""What is measured: a name, candidates (ours first), a check that they agree, and the machine's limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """One piece of work.

    candidates: what is timed, by name; the first is ours.
    check: raises AssertionError where a candidate's result is wrong; runs before anything is timed.
    against: the candidate that ours is compared with.
    target: the ratio ours / against that is aimed for, or None.
    target_seconds: the time that is aimed for, or None.
    amount: multiply-adds of one run, for the rate; 0 where it has no meaning.
    """

    name: str
    candidates: dict[str, Callable[[], object]]
    check: Callable[[], None]
    against: str
    target: float | None = None
    target_seconds: float | None = None
    amount: float = 0
    rounds: int = 15
