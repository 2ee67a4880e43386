"""What every method is: two LoRA factors that are functions of a few trained numbers.

    W' = W + scaling * lora_B(theta_B) lora_A(theta_A),  lora_A (rank, in), lora_B (out, rank)

A method says how many numbers a factor has and how to compute the factor from them. Training, merging,
files and exports are written once, on top of this. Nothing here imports peft or transformers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from nolakit.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from nolakit.basis.integers import Integers

Role = Literal["lora_A", "lora_B"]
ROLES: tuple[Role, ...] = ("lora_A", "lora_B")


@dataclass(frozen=True)
class FactorShape:
    """Where a factor sits and what shape it has.

    path: canonical module path (`docs/format.md`, section 4).
    dims: `(rank, in)` or `(out, rank)`, with a convolution's kernel behind: `(rank, in, height, width)`.
    """

    role: Role
    path: str
    dims: tuple[int, ...]

    @property
    def size(self) -> int:
        """Entries of the factor."""
        return prod(self.dims)

    @property
    def fan_in(self) -> int:
        """Inputs that one output sums over."""
        return prod(self.dims[1:])


class Method(ABC):
    """A parametrisation of LoRA's factors."""

    name: ClassVar[str]
    update: ClassVar[str]  # one line each, for the table of methods
    trained: ClassVar[str]
    source: ClassVar[str]

    @classmethod
    @abstractmethod
    def from_config(cls, config: Mapping[str, Any]) -> Method:
        """The method as an `adapter_config.json`, or a configuration's `to_dict()`, describes it."""

    @abstractmethod
    def count(self, role: Role) -> int:
        """Trained numbers of one factor."""

    @abstractmethod
    def factors(self, coefficients: torch.Tensor, shapes: Sequence[FactorShape]) -> Sequence[torch.Tensor]:
        """The factors of one group, made together, differentiable in the coefficients.

        Args:
            coefficients: one row a factor. # shape: (len(shapes), count)
            shapes: of equal `group`.

        Returns:
            Tensors of `shape.dims` in float32, or float64 where the coefficients are float64.
        """

    def group(self, shape: FactorShape) -> Hashable:
        """Factors of equal group cost less together than apart. Each is its own unless a method says more."""
        return shape

    def expand(
        self, coefficients: torch.Tensor | Integers, shapes: Sequence[FactorShape]
    ) -> Sequence[torch.Tensor]:
        """The factors of one group from stored coefficients: `factors`, of integers the products with their scales.
        A method whose factors are exact sums of integers overrides `integer_factors`."""
        import torch

        if isinstance(coefficients, torch.Tensor):
            return self.factors(coefficients, shapes)
        return self.integer_factors(coefficients, shapes)

    def integer_factors(
        self, coefficients: Integers, shapes: Sequence[FactorShape]
    ) -> Sequence[torch.Tensor]:
        """As `factors`, from integers with a scale a row."""
        return self.factors(coefficients.dequantised(), shapes)

    def factor(self, coefficients: torch.Tensor, shape: FactorShape) -> torch.Tensor:
        """One factor. # shape: (count,) -> shape.dims"""
        return self.factors(coefficients[None], (shape,))[0]


def check_positive_integer(name: str, value: Any) -> None:
    """Raises ConfigError unless `value` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"found {name}={value!r}; expected an integer of at least 1")
