"""What a task is: a base model, rows in three splits, and a metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from nolakit.errors import DataError, ModelError

Row = dict[str, Any]
Metrics = dict[str, float]


@dataclass(frozen=True)
class Places:
    """The folders that base models and data sets are in, each in a folder of its own."""

    bases: Path
    data: Path

    def base(self, name: str) -> Path:
        """Raises ModelError where it is not there."""
        if not (self.bases / name).is_dir():
            raise ModelError(
                f"found no folder {name!r} in {str(self.bases)!r}; name the bases' folder with --bases"
            )
        return self.bases / name

    def set(self, name: str) -> Path:
        """Raises DataError where it is not there."""
        if not (self.data / name).is_dir():
            raise DataError(
                f"found no folder {name!r} in {str(self.data)!r}; name the data's folder with --data"
            )
        return self.data / name


@dataclass(frozen=True)
class Size:
    """How much of a task is run. Rows of each split (of few-shot tasks: a class), optimizer steps, rows a step."""

    train: int
    validation: int
    test: int
    steps: int
    batch: int


@dataclass(frozen=True)
class Loaded:
    """A task's parts, read from the disk.

    model: makes the base anew; a head's start is drawn from torch's global generator.
    splits: encoded rows of "train", "validation" and "test".
    collate: makes a batch of rows.
    heads: modules that are trained whole beside a method.
    score: more metrics, of the test split and of candidates of the core alone.
    """

    model: Callable[[], nn.Module]
    splits: Mapping[str, Sequence[Row]]
    collate: Callable[[list[Row]], dict[str, Any]]
    heads: tuple[str, ...] = ()
    score: Callable[[nn.Module], Metrics] | None = None

    @property
    def classifies(self) -> bool:
        """Whether rows have a label, not tokens."""
        return bool(self.heads)


@dataclass(frozen=True, eq=False)  # one by its identity
class Task:
    """One row of the registry.

    title: for tables.
    base, data: names of folders; None is carried by a package.
    metric: "accuracy", whose largest is best, or "loss", whose least is.
    targets: what `all`, `attention`, `query-value` and `mlp` are as target_modules.
    rates: where every method's learning rate is searched first, in half decades: -4 is 0.01.
    full, small: the two forms that it is run in.
    head_lr: learning rate of a new head, the same beside every method: about where the frozen base's is best on the
        validation split, by accuracy or by loss, whichever is less.
    head_dim: width of an attention head.
    """

    name: str
    title: str
    base: str | None
    data: str
    metric: str
    load: Callable[[Places, Size], Loaded]
    targets: Mapping[str, Any]
    rates: tuple[int, ...]
    full: Size
    small: Size
    head_lr: float | None = None
    head_dim: int = 64

    @property
    def higher(self) -> bool:
        """Whether more of the metric is better."""
        return self.metric == "accuracy"

    def goodness(self, value: float) -> float:
        """The metric, or its negative where less is better: more of this is better."""
        return value if self.higher else -value

    def size(self, small: bool) -> Size:
        """The form to run."""
        return self.small if small else self.full
