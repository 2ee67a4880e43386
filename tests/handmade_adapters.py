"""Adapter folders written by hand from the specification, with no PEFT and no model."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

MODULES = {"layers.0.q_proj": (24, 20), "layers.0.up_proj": (20, 48), "layers.1.q_proj": (24, 20)}  # in, out
RANK, NUM_BASIS, SEED = 3, 6, 9


def config(**changes) -> dict:
    shapes = {"q_proj": (24, 20), "up_proj": (20, 48)}
    return {
        "peft_type": "NOLAKIT_NOLA", "r": RANK, "num_basis": NUM_BASIS, "num_basis_a": None, "num_basis_b": 4,
        "lora_alpha": 12, "seed": SEED, "share_basis": True, "use_rslora": False, "base_model_prefix": "model",
        "base_model_name_or_path": "some/base", "task_type": "CAUSAL_LM", "target_modules": ["q_proj", "up_proj"],
        "rank_pattern": {}, "alpha_pattern": {}, "bias": "none", "lora_dropout": 0.1, "modules_to_save": None,
        "module_shapes": {
            name: {"lora_A": [RANK, inputs], "lora_B": [outputs, RANK]} for name, (inputs, outputs) in shapes.items()
        },
        "base_fingerprint": None,
    } | changes  # fmt: skip


def coefficients() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        f"base_model.model.model.{path}.{role}.coefficients": torch.randn(count, generator=generator)
        for path in MODULES
        for role, count in (("lora_A", NUM_BASIS), ("lora_B", 4))
    }


def write_adapter(folder: Path, tensors: dict[str, torch.Tensor] | None = None, **changes) -> Path:
    """Write an adapter folder, with other tensors or other configuration values where given."""
    folder.mkdir()
    save_file(coefficients() if tensors is None else tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config(**changes)))
    return folder
