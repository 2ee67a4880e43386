"""NOLA: LoRA's factors as linear combinations of frozen random matrices that a seed regenerates.

    lora_A = A0 + 1 / sqrt(k) sum_{i<k} alpha_i A_i      A_i (rank, in),  entries U(-1, 1) in 256 steps
    lora_B =      1 / sqrt(l) sum_{j<l} beta_j  B_j      B_j (out, rank), entries U(-1, 1) in 256 steps
    A0 = U(-1/sqrt(in), 1/sqrt(in)), each module's own

Trained: k + l numbers a module, zero at the start, so that the update is exactly zero at step 0. Only they
and the seed are stored. Source: Koohpayegani et al., ICLR 2024, arXiv 2310.02556; A0, the zero start and
1 / sqrt(k) are those of the official LLaMA code, which the published language results come from.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nolakit import basis
from nolakit.basis.streams import check_seed
from nolakit.errors import ConfigError
from nolakit.methods.base import FactorShape, Method, Role, check_positive_integer

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Nola(Method):
    """NOLA's settings: see the module's equation, with k = num_basis_a and l = num_basis_b."""

    name = "nola"
    update = "B A, both linear combinations of frozen random matrices"
    trained = "num_basis_a + num_basis_b"
    source = "arXiv 2310.02556"

    seed: int
    num_basis_a: int
    num_basis_b: int
    share_basis: bool

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Nola:
        def apart(name: str) -> int:
            return config["num_basis"] if config.get(name) is None else config[name]

        return cls(config["seed"], apart("num_basis_a"), apart("num_basis_b"), config["share_basis"])

    def __post_init__(self) -> None:
        check_positive_integer("num_basis", self.num_basis_a)
        check_positive_integer("num_basis", self.num_basis_b)
        check_seed(self.seed)
        if not isinstance(self.share_basis, bool):
            raise ConfigError(f"found share_basis={self.share_basis!r}; expected true or false")

    def count(self, role: Role) -> int:
        return self.num_basis_a if role == "lora_A" else self.num_basis_b

    def group(self, shape: FactorShape) -> Hashable:
        """Factors of one role and size that share a basis: it is generated once for all of them."""
        return (shape.role, shape.dims) if self.share_basis else shape

    def factors(self, coefficients: torch.Tensor, shapes: Sequence[FactorShape]) -> Sequence[torch.Tensor]:
        return self._with_offsets(basis.combine(coefficients, **self._address(shapes[0])), shapes)

    def integer_factors(
        self, coefficients: basis.Integers, shapes: Sequence[FactorShape]
    ) -> Sequence[torch.Tensor]:
        """Equal bits on every backend and device: exact sums S of integers, then two float32 steps.

        lora = A0 + float32(S) s,   s = float32(scale / (256 sqrt(k))) from float64
        """
        sums = basis.combine_integers(coefficients.values, **self._address(shapes[0]))
        unit = 256 * math.sqrt(coefficients.values.shape[1])
        steps = (coefficients.scales.double() / unit).float()
        return self._with_offsets(sums.float() * steps[:, None], shapes)

    def _address(self, first: FactorShape) -> dict[str, int]:
        stream = basis.stream_number(first.role, None if self.share_basis else first.path)
        return {"seed": self.seed, "stream": stream, "size": first.size}

    def _with_offsets(self, sums: torch.Tensor, shapes: Sequence[FactorShape]) -> list[torch.Tensor]:
        rows = list(sums.unbind())
        if shapes[0].role == "lora_A":
            rows = [row + self.offset(shape, sums.device) for row, shape in zip(rows, shapes, strict=True)]
        return [row.view(shape.dims) for row, shape in zip(rows, shapes, strict=True)]

    def offset(self, shape: FactorShape, device: torch.device) -> torch.Tensor:
        """A0, flattened: the first vector of the module's own stream over sqrt(in), float32.
        # shape: (rank * in,)"""
        stream = basis.stream_number("lora_A0", shape.path)
        bound = 1 / math.sqrt(shape.fan_in)
        return basis.vector(shape.size, seed=self.seed, stream=stream, bound=bound, device=device)
