"""Export as a standard PEFT LoRA folder, for every tool that takes LoRA."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from nolakit.adapter.expand import expand
from nolakit.adapter.files import CONFIG_NAME, WEIGHTS_NAME, AdapterFile, open_adapter
from nolakit.adapter.writing import new_folder

# What a LoRA configuration takes over as it stands.
SHARED_OPTIONS = (
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "exclude_modules", "fan_in_fan_out",
    "inference_mode", "layer_replication", "layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout",
    "modules_to_save", "r", "rank_pattern", "revision", "target_modules", "task_type", "trainable_token_indices",
    "use_rslora",
)  # fmt: skip


def lora_config(file: AdapterFile) -> dict[str, Any]:
    """The LoRA configuration of an adapter's expanded factors."""
    shared = {name: file.config[name] for name in SHARED_OPTIONS if name in file.config}
    return {"peft_type": "LORA", "init_lora_weights": True, "use_dora": False, "lora_bias": False, **shared}


def export_lora(
    adapter: str | Path, folder: str | Path, *, dtype: torch.dtype = torch.float32, overwrite: bool = False
) -> Path:
    """Write an adapter as a PEFT LoRA folder whose update is the same.

    Args:
        adapter: an adapter folder.
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
    with file.open_tensors() as source:
        tensors.update({key: source.get_tensor(key) for key in file.other_tensors()})
    with new_folder(folder, overwrite=overwrite) as fresh:
        save_file(tensors, fresh / WEIGHTS_NAME, metadata={"format": "pt"})
        (fresh / CONFIG_NAME).write_text(json.dumps(lora_config(file), indent=2, sort_keys=True) + "\n")
    return Path(folder)
