"""What is measured: a name, candidates (ours first), a check that they agree, and the machine's limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

OURS = "nolakit"


@dataclass(frozen=True)
class Cost:
    """What a run cannot do without, whatever the code: the floor of its time is what this takes at the machine's peak.

    multiply_adds: in float32. blocks: calls of the generator, of 16 basis entries each. bytes: read or written in
    main memory.
    """

    multiply_adds: float = 0
    blocks: float = 0
    bytes: float = 0


@dataclass(frozen=True)
class Work:
    """One piece of work.

    candidates: what is timed, by name; the first is ours.
    check: raises AssertionError where our result is wrong; runs before anything is timed.
    cost: of our candidate, for the floor beside its time.
    targets: by candidate, the ratio ours / candidate that is aimed for.
    target_seconds: the time that is aimed for, or None.
    trained: numbers that each candidate trains, where that differs.
    rounds, calls: as `interleaved` takes them.
    curve: the curve that this is a point of, and where on its axis.
    """

    name: str
    candidates: dict[str, Callable[[], object]]
    check: Callable[[], None]
    cost: Cost = Cost()
    targets: dict[str, float] = field(default_factory=dict)
    target_seconds: float | None = None
    trained: dict[str, int] = field(default_factory=dict)
    curve: tuple[str, float] | None = None
    rounds: int = 15
    calls: int = 1
