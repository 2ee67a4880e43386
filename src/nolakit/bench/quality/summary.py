"""What the rows of a candidate on a task come to: chosen on the validation split, measured on the test split."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, replace

from nolakit.bench.quality.task import Row, Task


@dataclass(frozen=True)
class Summary:
    """One candidate on one task.

    values: the task's metric by seed; minus or plus infinity, whichever is worse, where a run diverged.
    trained, head: trained numbers of the method, and of a head beside it.
    bytes: stored, without the head.
    lr: that was best on the validation split.
    seconds: of training, the mean; peak: bytes of the process, the largest.
    """

    name: str
    family: str
    values: dict[int, float]
    trained: int
    head: int
    bytes: int
    lr: float
    seconds: float
    peak: int

    @property
    def mean(self) -> float:
        return statistics.mean(self.values.values())

    @property
    def deviation(self) -> float:
        """The standard deviation over seeds."""
        return deviation([*self.values.values()])


def summaries(rows: Iterable[Row], task: Task, form: str) -> list[Summary]:
    """Every candidate that was measured on a task, in the order of their first rows; its packed forms behind it."""
    own = [row for row in rows_of(rows, task, form) if "refused" not in row]
    found = []
    for name in dict.fromkeys(row["candidate"] for row in own):
        mine = [row for row in own if row["candidate"] == name]
        tried = [row for row in mine if row["split"] == "validation"]
        lr = max(tried, key=lambda row: standing(task, row))["lr"] if tried else None
        tests = [row for row in mine if row["split"] == "test" and row["lr"] == lr]
        if tests:
            found += [_summary(task, name, tests), *_packed(task, name, tests)]
    return found


def rows_of(rows: Iterable[Row], task: Task, form: str) -> list[Row]:
    """The rows of a task as the task is now."""
    now = (task.name, form, [*astuple(task.size(form == "small"))], task.head_lr)
    return [row for row in rows if (row["task"], row["form"], row["size"], row["head_lr"]) == now]


def standing(task: Task, row: Row) -> tuple[float, float, float]:
    """What the best rate is the largest of: the task's metric; then, of equal accuracies, the loss; then the rate, of
    which the least is taken. The first is minus infinity where a run diverged."""
    loss = row.get("loss")
    return task.goodness(_value(task, row)), -math.inf if loss is None else -loss, -row["lr"]


def deviation(values: Sequence[float]) -> float:
    """The sample's standard deviation; 0 of one value, NaN of values that are not finite."""
    if not all(map(math.isfinite, values)):
        return math.nan
    return statistics.stdev(values) if len(values) > 1 else 0.0


def differences(one: Summary, other: Summary) -> list[float]:
    """one - other, of the seeds that both have."""
    return [one.values[seed] - other.values[seed] for seed in one.values if seed in other.values]


def matches(task: Task, one: Summary, other: Summary) -> bool:
    """Whether `one` is no worse than `other` by more than the standard error of the difference of the two means."""
    error = math.sqrt(one.deviation**2 / len(one.values) + other.deviation**2 / len(other.values))
    return task.goodness(one.mean) - task.goodness(other.mean) >= -error


def better(task: Task, one: float, other: float) -> bool:
    """Whether a metric is better than another."""
    return task.goodness(one) > task.goodness(other)


def front(task: Task, found: Sequence[Summary]) -> list[Summary]:
    """Those that no other with as few bytes is better than, from the smallest on."""
    kept: list[Summary] = []
    for each in sorted(found, key=lambda summary: (summary.bytes, -task.goodness(summary.mean))):
        if not kept or better(task, each.mean, kept[-1].mean):
            kept.append(each)
    return kept


def _summary(task: Task, name: str, tests: Sequence[Row]) -> Summary:
    last = tests[-1]
    return Summary(
        name, last["family"], {row["seed"]: _value(task, row) for row in tests}, last["trained"], last["head"],
        last["bytes"], last["lr"], statistics.mean(row["seconds"] for row in tests),
        max(row["peak_bytes"] for row in tests),
    )  # fmt: skip


def _packed(task: Task, name: str, tests: Sequence[Row]) -> list[Summary]:
    whole, found = _summary(task, name, tests), []
    packed = [row for row in tests if "packed" in row]  # not of a run that diverged
    for bits in packed[-1]["packed"] if packed else ():
        values = whole.values | {row["seed"]: row["packed"][bits][task.metric] for row in packed}
        size = packed[-1]["packed"][bits]["bytes"]
        found.append(replace(whole, name=f"{name}, {bits} bits", values=values, bytes=size))
    return found


def _value(task: Task, row: Row) -> float:
    worst = -math.inf if task.higher else math.inf
    return worst if row[task.metric] is None else row[task.metric]
