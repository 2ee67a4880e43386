"""Training, evaluating, generating, merging and counting on transformers models, behind the command line.

The names below are loaded on first use, so that a part costs only what it imports itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nolakit.tasks.counting import count
    from nolakit.tasks.evaluation import EvaluationResult, evaluate
    from nolakit.tasks.generation import generate
    from nolakit.tasks.merging import merge
    from nolakit.tasks.run import TrainResult, train
    from nolakit.tasks.settings import TrainSettings

__all__ = [
    "EvaluationResult",
    "TrainResult",
    "TrainSettings",
    "count",
    "evaluate",
    "generate",
    "merge",
    "train",
]

_LAZY = {
    "EvaluationResult": "nolakit.tasks.evaluation",
    "TrainResult": "nolakit.tasks.run",
    "TrainSettings": "nolakit.tasks.settings",
    "count": "nolakit.tasks.counting",
    "evaluate": "nolakit.tasks.evaluation",
    "generate": "nolakit.tasks.generation",
    "merge": "nolakit.tasks.merging",
    "train": "nolakit.tasks.run",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'nolakit.tasks' has no attribute {name!r}; it has {', '.join(__all__)}")
