"""Methods that are compared, and compositions of them, each with 2,240 trained numbers in all.

The base is a Llama of 5 layers, width 64 and 4 of 8 key-value heads: 35 linear layers with 70 factors. Parents that
cannot have just so many numbers have more; compositions never do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from peft import LoraConfig, PeftConfig

import nolakit

TOTAL = 2240
SHARE = TOTAL // 70  # of each factor
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
QUERY_VALUE = ["q_proj", "v_proj"]
NOLA = ("nola r4", "nola r16", "nola r64")

Energies = Callable[[], dict[str, float]]
Make = Callable[[int, Energies], PeftConfig]


@dataclass(frozen=True)
class Candidate:
    """A method, or a composition of `parents`, of which those of NOLA's ranks count as one.

    text: what it is, for the table.
    make: its configuration, of a seed and the measured energies of the gradients.
    """

    name: str
    text: str
    make: Make
    parents: tuple[str, ...] = ()


def ours(method: str, **options: Any) -> Make:
    """A configuration of nolakit's, on all linear layers where nothing else is said. Its random parts are the run's."""

    def make(seed: int, energies: Energies) -> PeftConfig:
        given = {"target_modules": "all-linear", "task_type": "CAUSAL_LM", **options}
        if given.get("budget_by") == "gradient":
            given["budget_weights"] = energies()
        if method != "LoraXs" or "budget" in given:
            given["seed"] = seed
        return getattr(nolakit, f"{method}Config")(**given)

    return make


def over(method: str, by: str = "equal", **options: Any) -> Make:
    """NOLA over a method, or where it is NOLA itself its own numbers, spread so."""
    return ours(method, budget=TOTAL, budget_by=by, **options)


def lora(seed: int, energies: Energies) -> PeftConfig:
    return LoraConfig(r=1, lora_alpha=1, target_modules=ATTENTION, task_type="CAUSAL_LM")


def composition(parent: str, text: str, make: Make, more: str = "") -> Candidate:
    """NOLA over a parent."""
    return Candidate(f"nola over {parent}{more}", f"NOLA over {text}", make, (parent, *NOLA))


PARENTS = [
    *(
        Candidate(f"nola r{r}", f"NOLA, r={r}, {SHARE} numbers a factor", ours("Nola", r=r, num_basis=SHARE))
        for r in (4, 16, 64)
    ),
    Candidate("lora_xs", "LoRA-XS, r=8", ours("LoraXs", r=8)),
    Candidate("vera", "VeRA, r=64, of q, k, v, o", ours("Vera", r=64, target_modules=ATTENTION)),
    Candidate(
        "melora",
        "MELoRA, r=1, 4 blocks, of q, k, v, o",
        ours("Melora", blocks=4, lora_alpha=1, target_modules=ATTENTION),
    ),
    Candidate("lora_fa", "LoRA-FA, r=1", ours("LoraFa", r=1, lora_alpha=1)),
    Candidate("tied_lora", "Tied-LoRA, r=8, of q, v", ours("TiedLora", r=8, target_modules=QUERY_VALUE)),
    Candidate("lora", "LoRA, r=1, of q, k, v, o", lora),
]
COMPOSITIONS = [
    composition("lora_xs", "LoRA-XS's core, r=16", over("LoraXs", r=16), " r16"),
    composition("lora_xs", "LoRA-XS's core, r=32", over("LoraXs", r=32), " r32"),
    composition(
        "lora_xs",
        "LoRA-XS's core, r=16, by the gradients' energies",
        over("LoraXs", "gradient", r=16),
        " r16 by gradient",
    ),
    composition("vera", "VeRA's diagonals, r=64", over("Vera", r=64)),
    composition("melora", "MELoRA's blocks, r=4, 4 blocks", over("Melora", r=4, blocks=4, lora_alpha=4)),
    composition("lora_fa", "LoRA-FA's B, r=16", over("LoraFa", r=16, lora_alpha=16)),
    composition(
        "tied_lora", "Tied-LoRA's factors and diagonals, r=16, by size", over("TiedLora", "size", r=16)
    ),
    Candidate("nola by size", "NOLA, r=16, numbers by the factors' sizes", over("Nola", "size", r=16), NOLA),
    Candidate(
        "nola by gradient",
        "NOLA, r=16, numbers by the gradients' energies",
        over("Nola", "gradient", r=16),
        NOLA,
    ),
]
CANDIDATES = [*PARENTS, *COMPOSITIONS]
