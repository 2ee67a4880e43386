"""The facts of one method that its checks need, written down by hand from its paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from nolakit import methods
from nolakit.methods.base import Degree, Method

Shape = tuple[int, int]  # (out, in) of a Linear
Modules = Shape | Mapping[str, Shape]  # by path; a shape alone is one module, ONE_MODULE
ONE_MODULE = "layers.0.self_attn.q_proj"


@dataclass(frozen=True)
class Row:
    """One method, or one way to use it.

    A fact that most methods have is None here; those that have it not say why, and the exception is checked instead.

    Attributes:
        method: its name in `nolakit.methods`.
        options: of its configuration, small; for layers of 16 x 16, 8 x 16 and 16 x 8, and eight times as wide.
        counts: trained numbers of models of Linear layers, at least three, computed by hand from the formula.
        llama: options and trained numbers for q_proj and v_proj of LLaMA-2-7B: 64 layers of 4096 x 4096.
        degree: of the update in the trained numbers.
        title: tells rows of one method apart.
        targets: modules of `bases.BASES["linear"]` that the method adapts.
        nonzero_start: why the update is not zero at the start.
        start_bound: then the norm of the update at the start is at most this share of the weight's.
        idle_numbers: why some trained numbers move no update.
        seed_draws: frozen parts, or the start of trained numbers alone.
        no_seed: why the update does not depend on a seed.
        no_conv1d: why the Conv1D of GPT-2 is refused.
        no_conv2d: why convolutions are refused.
        stored_beside: why the file holds more than trained numbers.
    """

    method: str
    options: Mapping[str, Any]
    counts: Sequence[tuple[Modules, int]]
    llama: tuple[Mapping[str, Any], int]
    degree: Degree
    title: str = ""
    targets: Sequence[str] = ("q_proj", "v_proj", "down_proj")
    nonzero_start: str | None = None
    start_bound: float = 0.1
    idle_numbers: str | None = None
    seed_draws: Literal["frozen parts", "start"] = "frozen parts"
    no_seed: str | None = None
    no_conv1d: str | None = None
    no_conv2d: str | None = None
    stored_beside: str | None = None
    name: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"{self.method}: {self.title}" if self.title else self.method)

    @property
    def method_class(self) -> type[Method]:
        """The method's class."""
        return methods.method_class(self.method)

    @property
    def bases(self) -> list[str]:
        """Names in `bases.BASES` of the models that the method adapts."""
        refused = {"conv1d": self.no_conv1d, "conv2d": self.no_conv2d}
        return [name for name in ("linear", "conv1d", "conv2d") if not refused.get(name)]
