"""Methods with one fault each, which a check has to find."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from methods.half_lora import HalfLora
from nolakit.methods.base import Method
from nolakit.methods.options import seed_option


@dataclass(frozen=True)
class Dense(Method):
    """Not faulty: `Delta = diag(c) R`, R frozen random, applied without being made."""

    name = "dense"
    title = update = trained = source = learning_rate_source = "Dense"
    degree = "linear"
    learning_rate = 1e-3
    dense = True
    fused = True

    seed: int = seed_option()

    def count(self, factor):
        return factor.site.outputs if factor.role == "lora_A" else 0

    def factor(self, numbers, factor, tied, frozen):
        return numbers[:, None] * self._random(factor, numbers)

    def apply(self, x, numbers, factor, tied, frozen):
        return F.linear(x, self._random(factor, x)) * numbers

    def _random(self, factor, like):
        dims = (factor.site.outputs, factor.site.inputs)
        return self.random("dense", dims, like=like, path=factor.path, std=dims[1] ** -0.5)


class StartsElsewhere(HalfLora):
    def start(self, factor):
        return torch.full((self.count(factor),), 1e-3) if factor.role == "lora_B" else None


class Saddle(HalfLora):
    degree = "quadratic"

    def factor(self, numbers, factor, tied, frozen):
        return super().factor(numbers, factor, tied, frozen) * (numbers.sum() if len(numbers) else 1)


class OneTooMany(HalfLora):
    """A number that nothing is computed from."""

    def count(self, factor):
        return super().count(factor) + (factor.role == "lora_B")

    def factor(self, numbers, factor, tied, frozen):
        return super().factor(numbers[:-1] if len(numbers) else numbers, factor, tied, frozen)


class CutGradient(HalfLora):
    def factor(self, numbers, factor, tied, frozen):
        return super().factor(numbers.detach() / 2 + numbers / 2, factor, tied, frozen)


class WrongApply(Dense):
    def apply(self, *given):
        return super().apply(*given) * 1.01


class CutApply(Dense):
    def apply(self, x, numbers, *others):
        return super().apply(x, numbers.detach() / 2 + numbers / 2, *others)


class MeanOfBatch(Dense):
    """Each row's update depends on how many there are."""

    def apply(self, x, *others):
        return super().apply(x, *others) / len(x)


class Alternating(Dense):
    """Every other use is another."""

    uses: ClassVar = itertools.count()

    def apply(self, *given):
        return super().apply(*given) * (1 + next(self.uses) % 2)


class Counting(HalfLora):
    """Every model gets another update from the same numbers."""

    models: ClassVar = itertools.count(1)

    def bind(self, sites):
        bound = super().bind(sites)
        object.__setattr__(bound, "model", next(self.models))
        return bound

    def factor(self, numbers, factor, tied, frozen):
        return super().factor(numbers, factor, tied, frozen) * getattr(self, "model", 0)


class PythonsHash(HalfLora):
    """Random numbers by a hash that every process has its own of."""

    def factor(self, numbers, factor, tied, frozen):
        shift = 1 + abs(hash(factor.path)) % 1000 / 1000
        return super().factor(numbers, factor, tied, frozen) * shift


class LastBits(HalfLora):
    """A frozen part of bits of the weight that no rounding keeps."""

    from_weight = True

    def frozen(self, site, weight, measured=None):
        return {"lora_A": (weight[: site.rank] * 2**20).frac()}

    def factor(self, numbers, factor, tied, frozen):
        return super().factor(numbers, factor, tied, frozen) if frozen is None else frozen


class Remembers(HalfLora):
    """The first factor of a module, for all adapters and numbers that come later."""

    made: ClassVar[dict] = {}

    def factor(self, numbers, factor, tied, frozen):
        made = super().factor(numbers, factor, tied, frozen)
        return self.made.setdefault((factor, numbers.dtype), made.detach()) + 0 * made


class StoresItsBasis(HalfLora):
    from_weight = True
    stores_frozen = True

    def frozen_dims(self, factor):
        return (factor.site.rank, factor.site.inputs) if factor.role == "lora_A" else None

    def frozen(self, site, weight, measured=None):
        return {"lora_A": weight[: site.rank]}

    def factor(self, numbers, factor, tied, frozen):
        return super().factor(numbers, factor, tied, frozen) if frozen is None else frozen


class WrongUniform(HalfLora):
    """Says that every module has as many numbers."""

    def uniform(self):
        return {"lora_A": 0, "lora_B": 64}


class SaysLinear(HalfLora):
    def factor(self, numbers, factor, tied, frozen):
        return super().factor(numbers * numbers.abs(), factor, tied, frozen)


class IgnoresSeed(HalfLora):
    def random(self, what, dims, **others):
        return (
            HalfLora(seed=0).random(what, dims, **others)
            if self.seed
            else super().random(what, dims, **others)
        )


class DrawsGlobally(HalfLora):
    def start(self, factor):
        return 0 * torch.randn(self.count(factor)) if factor.role == "lora_B" else None
