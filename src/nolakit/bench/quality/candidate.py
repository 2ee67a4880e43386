"""A method at one budget, as something that is put on a base model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from peft import PeftConfig, get_peft_model
from torch import nn

import nolakit
from nolakit import methods
from nolakit.bench.quality.task import Loaded, Task
from nolakit.errors import NolakitError, UnsupportedError
from nolakit.tasks.adapting import Adapted
from nolakit.tasks.configurations import build_config, config_class
from nolakit.tasks.learning_rates import learning_rate
from nolakit.tuner.config import ComputedLoraConfig

MEASURED, AT_ONCE = 64, 8  # rows that a gradient's energy is measured on
SEEDS = ("seed", "projection_prng_key", "random_loc_seed", "proj_seed", "projection_seed", "random_seed")


@dataclass(frozen=True)
class Candidate:
    """One row of the registry.

    Args:
        name: of the row, unique.
        family: whose learning rate is searched from the rate of the one before, and which has one mark in plots.
        method: as `nolakit.tasks.configurations.method_names` has it, or "full".
        options: of the method.
        where: which of the task's `targets`.
        group: "core", "methods" or "ablations".
        optimizer: "adamw", or "lora_fa": PEFT's, which trains lora_B alone.
        packed: evaluate it with 8 and 4 bits too.
    """

    name: str
    family: str
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    where: str = "all"
    group: str = "core"
    optimizer: str = "adamw"
    packed: bool = False

    @property
    def rate(self) -> float:
        """The learning rate that the method's paper, or its default here, names."""
        return learning_rate("nola" if self.method.startswith("nola_") else self.method).lr

    @property
    def settings(self) -> dict[str, Any]:
        """What decides a run besides task, learning rate and seed; of a row."""
        return {"method": self.method, **self.options, "where": self.where, "optimizer": self.optimizer}

    def adapt(self, task: Task, loaded: Loaded, seed: int) -> Adapted:
        """The base with this method, its random parts drawn from `seed`.

        Raises:
            UnsupportedError, ConfigError: the method cannot adapt this base.
        """
        base, heads = loaded.model(), [*loaded.heads]
        if self.method == "full":
            return Adapted(base, heads)
        config = self._config(task, loaded, base, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT's advice on its own defaults
            try:
                return Adapted(get_peft_model(base, config), heads)
            except NolakitError:
                raise
            except Exception as error:  # every method of PEFT refuses in its own way
                raise UnsupportedError(f"{type(error).__name__}: {error}") from error

    def _config(self, task: Task, loaded: Loaded, base: nn.Module, seed: int) -> PeftConfig:
        if self.method == "head":
            return build_config("head", {}, task="image-classification", heads=[*loaded.heads])
        if self.where not in task.targets:
            raise UnsupportedError(f"found no {self.where} among the modules of {task.title}")
        options = {"target_modules": task.targets[self.where], **self.options}
        fields = config_class(self.method).__dataclass_fields__
        options |= {name: seed for name in SEEDS if name in self._own_fields()}
        if "head_dim" in fields:
            options["head_dim"] = task.head_dim
        kind = "image-classification" if loaded.classifies else "causal-lm"  # the first is of no type to PEFT
        config = build_config(self.method, options, task=kind, heads=[*loaded.heads])
        if isinstance(config, ComputedLoraConfig) and config.budget_by == "gradient":
            rows = [*loaded.splits["train"][:MEASURED]]
            batches = [
                loaded.collate(rows[start : start + AT_ONCE]) for start in range(0, len(rows), AT_ONCE)
            ]
            config.budget_weights = nolakit.gradient_energy(base, batches, options["target_modules"])
        return config

    def _own_fields(self) -> set[str]:
        """Of the method alone, without those that all of nolakit's have."""
        if self.method in methods.names():
            return {name for name, _ in methods.method_class(self.method).options()}
        return {*config_class(self.method).__dataclass_fields__}


def trained_numbers(adapted: Adapted) -> tuple[int, int]:
    """Of the method, and of the head. A parameter that several modules share counts once."""
    own = head = 0
    seen: set[int] = set()
    for name, parameter in adapted.model.named_parameters():
        if parameter.requires_grad and id(parameter) not in seen:
            seen.add(id(parameter))
            own, head = (
                (own, head + parameter.numel()) if adapted.is_head(name) else (own + parameter.numel(), head)
            )
    return own, head
