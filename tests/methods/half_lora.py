"""LoRA whose lora_A stays random: lora_A ~ U(-1, 1) of variance 1 / in, frozen; lora_B trained, zero at the start."""

from __future__ import annotations

from dataclasses import dataclass

from nolakit.methods.base import Method
from nolakit.methods.options import seed_option


@dataclass(frozen=True)
class HalfLora(Method):
    """The options of HalfLora."""

    name = "half_lora"
    title = "HalfLora"
    update = "B A; A frozen random"
    trained = "out * rank a module"
    source = "an example"
    degree = "linear"
    learning_rate = 1e-3
    learning_rate_source = "a guess"

    seed: int = seed_option()

    def count(self, factor):
        return factor.site.outputs * factor.site.rank if factor.role == "lora_B" else 0

    def factor(self, numbers, factor, tied, frozen):
        site = factor.site
        if factor.role == "lora_B":
            return numbers.view(site.outputs, site.rank)
        return self.random(
            "half_lora_A", (site.rank, site.inputs), like=numbers, path=factor.path, std=site.inputs**-0.5
        )
