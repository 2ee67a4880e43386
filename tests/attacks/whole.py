"""A small adapter, its base and an official checkpoint, that every reader takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from handmade_adapters import write_adapter

RANK = 3
MODULES = {
    "layers.0.self_attn.q_proj": 24,
    "layers.0.mlp.up_proj": 48,
    "layers.1.self_attn.q_proj": 24,
}  # outputs
SHAPES = {
    path.rpartition(".")[2]: {"lora_A": [RANK, 24], "lora_B": [outputs, RANK]} for path, outputs in MODULES.items()
}  # fmt: skip
LLAMA = {
    "model_type": "llama", "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "intermediate_size": 48,
}  # fmt: skip
OFFICIAL = {"peft_type": "LORA", "use_nola": True, "r": RANK, "lora_alpha": 6, "target_modules": ["q_proj"]}


def coefficients(dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        f"base_model.model.model.{path}.{role}.coefficients": torch.randn(count, generator=generator).to(
            dtype
        )
        for path in MODULES
        for role, count in (("lora_A", 6), ("lora_B", 4))
    }


def llama_adapter(folder: Path, tensors: dict[str, torch.Tensor] | None = None, **changes: Any) -> Path:
    """An adapter folder, with other tensors or configuration values where given."""
    tensors = coefficients() if tensors is None else tensors
    return write_adapter(folder, tensors, **{"module_shapes": SHAPES} | changes)


def write_base(folder: Path, config: dict[str, Any] | None = None) -> Path:
    folder.mkdir()
    tensors = {f"model.{path}.weight": torch.zeros(outputs, 24) for path, outputs in MODULES.items()}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(LLAMA | (config or {})))
    return folder


def official_tensors() -> dict[str, torch.Tensor]:
    tensors = {}
    for role, shape in (("lora_A", (RANK, 24)), ("lora_B", (24, RANK))):
        name = f"base_model.model.model.layers.0.self_attn.q_proj.{role}"
        tensors |= {
            f"{name}.weight": torch.zeros(shape),
            f"{name}.coefficients": torch.ones(5),
            f"{name}.seed": torch.tensor([7]),
        }
    return tensors


def write_official(folder: Path, tensors: dict[str, torch.Tensor] | None = None, **changes: Any) -> Path:
    folder.mkdir()
    save_file(official_tensors() if tensors is None else tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(OFFICIAL | changes))
    return folder
