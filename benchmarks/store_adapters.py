"""Packed adapters to fill a store with."""

from __future__ import annotations

from typing import Any

import torch

from nolakit.adapter.container import write_container
from nolakit.adapter.module_names import compress

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
LLAMA = (*ATTENTION, "gate_proj", "up_proj", "down_proj")


def small(number: int) -> bytes:
    """64 KiB of coefficients: 128 modules of 2 x 64 in float32."""
    paths = [f"model.layers.{layer}.self_attn.{name}" for layer in range(32) for name in ATTENTION]
    generator = torch.Generator().manual_seed(number)
    return _packed(paths, 32, 64, {"coefficients": torch.randn(len(paths) * 128, generator=generator)})


def large(number: int) -> bytes:
    """LLaMA-2-70B, all linear layers, 512 coefficients a factor in 8 bits: 573,440 bytes and 4,480 of scales."""
    paths = [
        f"model.layers.{layer}.{'self_attn' if name in ATTENTION else 'mlp'}.{name}"
        for layer in range(80)
        for name in LLAMA
    ]
    generator = torch.Generator().manual_seed(number)
    values = torch.randint(-127, 128, (len(paths) * 1024,), generator=generator, dtype=torch.int8)
    return _packed(
        paths, 8, 512, {"coefficients": values, "scales": torch.rand(len(paths), 2, generator=generator)}
    )


def _packed(paths: list[str], bits: int, count: int, tensors: dict[str, torch.Tensor]) -> bytes:
    names = sorted({path.rpartition(".")[2] for path in paths})
    config: dict[str, Any] = {
        "peft_type": "NOLAKIT_NOLA", "r": 16, "num_basis": count, "num_basis_a": None, "num_basis_b": None,
        "lora_alpha": 16, "seed": 0, "share_basis": True, "base_model_name_or_path": "meta-llama/Llama-2-70b-hf",
        "base_model_prefix": "model", "target_modules": names, "task_type": "CAUSAL_LM",
        "module_shapes": {name: {"lora_A": [16, 8192], "lora_B": [8192, 16]} for name in names},
        "base_fingerprint": {
            "modules": len(paths), "structure": "0123456789abcdef",
            "sketch": {path.removeprefix("model."): "0.01234 " * 8 for path in paths[:: len(paths) // 4][:4]},
        },
    }  # fmt: skip
    description = {
        "version": 1, "bits": bits, "modules": compress(dict.fromkeys(paths)),
        "counts": {"lora_A": count, "lora_B": count}, "config": config,
    }  # fmt: skip
    return write_container(description, tensors)
