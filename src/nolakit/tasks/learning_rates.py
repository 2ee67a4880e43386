"""Each method's own learning rate, for AdamW. A shared one fails methods: their scales differ by 1000.

The table is for a run that names none; on new data a sweep by factors of 3 around it is worth its time.
"""

from __future__ import annotations

from dataclasses import dataclass

from nolakit import methods


@dataclass(frozen=True)
class LearningRate:
    """A default and where it comes from."""

    lr: float
    source: str


LEARNING_RATES = {  # of PEFT's methods; nolakit's have their own
    "lora": LearningRate(1e-3, "usual range 2e-4 (LLaMA-2 7B, as NOLA's baseline) to 1e-3 (small models)"),
    "adalora": LearningRate(1e-3, "as lora"),
    "full": LearningRate(5e-5, "usual range 2e-5 to 5e-5 for pre-trained transformers"),
    "head": LearningRate(5e-3, "own measurement, frozen encoders"),
    "fourierft": LearningRate(5e-2, "arXiv 2405.03003"),
    "unilora": LearningRate(8e-4, "arXiv 2506.00799"),
    "vera": LearningRate(
        4e-3, "diagonals of order 0.1 to 1: arXiv 2310.11454 trains them at 10 times LoRA's rate"
    ),
    "pvera": LearningRate(4e-3, "as vera"),
    "randlora": LearningRate(1e-3, "as lora"),
    "prompt_tuning": LearningRate(3e-2, "PEFT's examples"),
    "p_tuning": LearningRate(3e-2, "as prompt_tuning"),
    "prefix_tuning": LearningRate(3e-2, "as prompt_tuning"),
    "ia3": LearningRate(3e-3, "arXiv 2205.05638"),
    "oft": LearningRate(1e-3, "as lora"),
    "boft": LearningRate(1e-3, "as lora"),
}
OTHER = LearningRate(1e-3, "no figure of the method's own here: set lr")
HEAD = LearningRate(5e-3, "own measurement; the same for every method, so that methods compare")
HEAD_FULL = LearningRate(5e-5, "as the base's")


def learning_rate(method: str) -> LearningRate:
    """The default of a method."""
    if method in methods.names():
        own = methods.method_class(method)
        return LearningRate(own.learning_rate, own.learning_rate_source)
    return LEARNING_RATES.get(method.removeprefix(methods.PEFT_PREFIX), OTHER)


def head_learning_rate(method: str) -> LearningRate:
    """The default of a new head beside a method."""
    return HEAD_FULL if method == "full" else HEAD
