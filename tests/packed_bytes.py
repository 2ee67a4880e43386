"""Packed adapters made from the specification's names and bytes, quickly and without torch."""

from __future__ import annotations

import json

import numpy as np
from safetensors.numpy import save

from nolakit.adapter.container import DESCRIPTION, DIGEST, Stored, digest


def packed(number: int, *, modules: int = 4, count: int = 8, **changes) -> bytes:
    """The adapter of a number: `modules` modules of 2 * `count` float32 coefficients."""
    config = {
        "peft_type": "NOLAKIT_NOLA", "r": 2, "num_basis": count, "lora_alpha": 4, "seed": 0, "share_basis": True,
        "base_model_name_or_path": "some/base", "base_model_prefix": "model", "base_fingerprint": None,
        "module_shapes": {"q_proj": {"lora_A": [2, 8], "lora_B": [8, 2]}},
    } | changes  # fmt: skip
    description = {
        "version": 1, "bits": 32, "modules": [f"model.layers.{index}.q_proj" for index in range(modules)],
        "counts": {"lora_A": count, "lora_B": count}, "config": config,
    }  # fmt: skip
    numbers = np.random.default_rng(number).standard_normal(2 * modules * count).astype("<f4")
    text = json.dumps(description).encode()
    content = {
        "coefficients": Stored("F32", numbers.shape, numbers.tobytes()),
        DESCRIPTION: Stored("U8", (len(text),), text),
    }
    parts = {DESCRIPTION: text, DIGEST: digest(content)}
    return save({"coefficients": numbers} | {name: np.frombuffer(part, "u1") for name, part in parts.items()})
