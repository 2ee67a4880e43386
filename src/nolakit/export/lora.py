"""Export as a standard PEFT LoRA folder, for every tool that takes LoRA."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from nolakit.adapter.expand import expand
from nolakit.adapter.files import CONFIG_NAME, WEIGHTS_NAME, open_adapter
from nolakit.adapter.writing import new_folder
from nolakit.export.scaling import scaling_of

# What a LoRA configuration takes over as it stands.
SHARED_OPTIONS = (
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "exclude_modules", "fan_in_fan_out",
    "inference_mode", "layer_replication", "layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout",
    "modules_to_save", "r", "rank_pattern", "revision", "target_modules", "task_type", "trainable_token_indices",
    "use_rslora",
)  # fmt: skip


def lora_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The LoRA configuration of the expanded factors of an adapter of this configuration."""
    shared = {name: config[name] for name in SHARED_OPTIONS if name in config}
    return {"peft_type": "LORA", "init_lora_weights": True, "use_dora": False, "lora_bias": False, **shared}


def export_lora(
    adapter: str | Path, folder: str | Path, *, dtype: torch.dtype = torch.float32, overwrite: bool = False
) -> Path:
    """Write an adapter as a PEFT LoRA folder whose update is the same.

    Args:
        adapter: an adapter folder or a packed file.
        folder: where to write; appears whole or not at all.
        dtype: of the factors.
        overwrite: replace what is there.

    Returns:
        The folder.

    Raises:
        AdapterError, UnsupportedError: as `expand`.
        OutputExistsError: `folder` is there and `overwrite` is not set.

    Size: rank * (in + out) numbers a module, which is what the coefficients saved.
    """
    file = open_adapter(adapter)
    tensors = expand(file, dtype=dtype)
    for module in file.modules():
        scaling_of(file.config, module)  # what another program could not compute is not written
    with file.open_tensors() as source:
        tensors.update({key: source.get_tensor(key) for key in file.other_tensors()})
    return write_lora(file.config, tensors, folder, overwrite=overwrite)


def write_lora(
    config: Mapping[str, Any], tensors: dict[str, torch.Tensor], folder: str | Path, *, overwrite: bool
) -> Path:
    """Write tensors under PEFT's names as a LoRA folder, with what of a configuration LoRA has too."""
    with new_folder(folder, overwrite=overwrite) as fresh:
        save_file(tensors, fresh / WEIGHTS_NAME, metadata={"format": "pt"})
        text = json.dumps(lora_config(config), indent=2, sort_keys=True)
        (fresh / CONFIG_NAME).write_text(text + "\n", encoding="utf-8")
    return Path(folder)
