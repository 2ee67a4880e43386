"""What one run came to: the line of a table, the point of a plot."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """What one run came to.

    trained, trained_head: numbers of the method, and of the head, which every method trains as well.
    file_bytes: of the adapter's file, head included.
    seconds: of the training.
    """

    title: str
    method: str
    options: dict[str, Any]
    lr: float
    seed: int
    trained: int
    trained_head: int
    file_bytes: int
    validation_accuracy: float
    accuracy: float
    macro_f1: float
    steps: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)
