"""NOLA adapters of LLaMA-2's shapes with random coefficients, written as PEFT would have saved them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from nolakit import NolaConfig
from nolakit.adapter.fingerprint import structure_of
from nolakit.adapter.shapes import compact_shapes
from nolakit.methods.site import ROLES

CONFIGS = Path(__file__).parent / "data"
RANK = 16
RECORD = {  # of a training on another machine
    "format": 1,
    "settings": {
        "task": "causal-lm", "model": "meta-llama/Llama-2-7b-hf", "data": "/home/somebody/rows.jsonl", "output": "out",
        "eval_data": None, "options": {"r": RANK, "num_basis": 128}, "lr": 1e-3, "epochs": 3.0, "separator": "\n",
    },
    "columns": {"text_column": None, "prompt_column": "prompt", "completion_column": "completion"},
    "labels": None, "max_length": 512, "metrics": {"loss": 1.2345678901234567, "train_loss": 1.3456789012345678},
    "history": [{"eval_loss": 1.5, "step": step} for step in range(100)], "versions": {"torch": "2.13.0"},
}  # fmt: skip


def module_dims(model: str) -> dict[str, dict[str, tuple[int, ...]]]:
    """Factor shapes of every linear layer, by canonical path."""
    config = json.loads((CONFIGS / f"{model}.json").read_text(encoding="utf-8"))
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    keys = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    sizes = {
        "self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (hidden, keys), "self_attn.v_proj": (hidden, keys),
        "self_attn.o_proj": (hidden, hidden), "mlp.gate_proj": (hidden, inner), "mlp.up_proj": (hidden, inner),
        "mlp.down_proj": (inner, hidden),
    }  # fmt: skip
    return {
        f"layers.{layer}.{name}": {"lora_A": (RANK, inputs), "lora_B": (outputs, RANK)}
        for layer in range(config["num_hidden_layers"])
        for name, (inputs, outputs) in sizes.items()
    }


def write_llama_adapter(folder: Path, model: str, num_basis: int) -> Path:
    """An adapter of all linear layers with its training's record."""
    dims = module_dims(model)
    generator = torch.Generator().manual_seed(0)
    tensors = {
        f"base_model.model.model.{path}.{role}.coefficients": torch.randn(num_basis, generator=generator)
        for path in dims
        for role in ROLES
    }
    names = sorted({path.rpartition(".")[2] for path in dims})
    config = NolaConfig(
        r=RANK, num_basis=num_basis, lora_alpha=4, target_modules=names, task_type="CAUSAL_LM",
        base_model_name_or_path="meta-llama/Llama-2-7b-hf", inference_mode=True, base_model_prefix="model",
        module_shapes=compact_shapes(dims),
        base_fingerprint={
            "modules": len(dims),
            "structure": structure_of(dims),
            "sketch": {path: " ".join(["-0.001234"] * 8) for path in list(dims)[:4]},
        },
    )  # fmt: skip
    config.save_pretrained(folder)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "training.json").write_text(json.dumps(RECORD))
    return folder
