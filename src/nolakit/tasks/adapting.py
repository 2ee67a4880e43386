"""A base model made ready to train by a method, and its trained numbers counted."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from peft import get_peft_model, prepare_model_for_kbit_training
from transformers import PreTrainedModel

from nolakit.errors import NolakitError, UnsupportedError
from nolakit.tasks.budgets import Weigh
from nolakit.tasks.configurations import build_config, refuse_options
from nolakit.tasks.models import head_names
from nolakit.tasks.targets import check_targets


@dataclass
class Adapted:
    """A model with its method, and the names of its head's modules ([] for a language model)."""

    model: Any
    heads: list[str]

    def trained(self) -> tuple[int, int]:
        """Trained numbers: of the method, and of the head."""
        numbers = [0, 0]
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                numbers[self.is_head(name)] += parameter.numel()
        return numbers[0], numbers[1]

    def is_head(self, name: str) -> bool:
        """Whether a parameter belongs to the head, also inside PEFT's wrappers."""
        return name.removeprefix("base_model.").removeprefix("model.").partition(".")[0] in self.heads


def adapt(
    base: PreTrainedModel,
    method: str,
    options: dict[str, Any],
    *,
    task: str,
    quantized: bool,
    weigh: Weigh | None = None,
) -> Adapted:
    """Put a method on a base model.

    Trained parameters are in float32 whatever the base's dtype.

    Args:
        weigh: completes the configuration where its budget follows what is measured on the base.

    Raises:
        ConfigError, UnsupportedError: as `build_config`, or PEFT refuses the base.
        TargetError: target modules that the base does not have.
    """
    heads = head_names(base) if task != "causal-lm" else []
    if method == "full":
        refuse_options(method, options)
        return Adapted(base, heads)
    if method == "head" and not heads:
        raise UnsupportedError(
            "found method 'head' for causal-lm, which adds no head; take 'full' or an adapter"
        )
    config = build_config(method, options, task=task, heads=heads)
    check_targets(base, config)
    if quantized:
        base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=False)
    if weigh is not None:
        weigh(base, config)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT's advice on its own defaults
            model = get_peft_model(base, config)
    except NolakitError:
        raise
    except Exception as error:  # every method of PEFT refuses in its own way
        raise UnsupportedError(f"found no way to put {method!r} on {type(base).__name__}: {error}") from error
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype in (torch.bfloat16, torch.float16):
            parameter.data = parameter.data.float()
    return Adapted(model, heads)
