"""Names of modules, between a live model, PEFT's configuration and an adapter file."""

from __future__ import annotations

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from nolakit.adapter.paths import FILE_PREFIX, WRAPPER_PARTS, canonical_path

PARAMETER_MARK = ".lora_"  # what stands between a module's path and its adapter's parameters


def unwrapped_model(model: nn.Module) -> nn.Module:
    """The model inside PEFT's wrapper, DDP, FSDP or torch.compile, whichever of them are around it."""
    model = getattr(model, "get_base_model", lambda: model)()
    while len(children := dict(model.named_children())) == 1 and children.keys() <= WRAPPER_PARTS:
        (model,) = children.values()
    return model


def base_model_prefix(model: nn.Module) -> str:
    """The name under which a transformers model with a head holds its headless model, or ""."""
    model = unwrapped_model(model)
    prefix = getattr(model, "base_model_prefix", "")
    return prefix if isinstance(prefix, str) and prefix and hasattr(model, prefix) else ""


def base_layer_paths(model: nn.Module, prefix: str) -> set[str]:
    """Canonical paths of all modules of the base model, those inside LoRA layers left out."""
    inside = [key + "." for key, module in model.named_modules() if isinstance(module, BaseTunerLayer)]
    return {
        canonical_path(key, prefix)
        for key, _ in model.named_modules()
        if key and not key.startswith(tuple(inside))
    }


def short_names(targets: set[str], paths: set[str]) -> set[str]:
    """The last parts of the target paths where those match no other module, else the paths themselves."""
    last_parts = {path.rpartition(".")[2] for path in targets}
    matched = {path for path in paths if path.rpartition(".")[2] in last_parts}
    return last_parts if matched == targets else targets


def aligned_key(key: str, layers: dict[str, str], prefix: str) -> str:
    """The key of a file with its module path spelt as this model spells it, where it has that module."""
    path, mark, tail = key.partition(PARAMETER_MARK)
    found = layers.get(canonical_path(path, prefix))
    return FILE_PREFIX + found + mark + tail if mark and found is not None else key
