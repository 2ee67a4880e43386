"""One adapter and its base in a folder, large enough an update to change what is said."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import get_peft_model

from nolakit import NolaConfig
from small_models import LIVELY
from tuner.adapting import randomize

SIZES = {
    "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 6,
    "num_key_value_heads": 3, "vocab_size": 96, "max_position_embeddings": 128, "tie_word_embeddings": False, **LIVELY,
}  # fmt: skip
ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
KINDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM, {}),
    "mistral": (transformers.MistralConfig, transformers.MistralForCausalLM, {"head_dim": 8}),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM, {}),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM, {"head_dim": 16}),
}


@dataclass(frozen=True)
class Place:
    """Where the base and the adapter are, and the adapted model itself."""

    base: Path
    adapter: Path
    model: Any


def decoder(kind: str = "llama", **changes: Any) -> Any:
    """A small language model with grouped-query attention, always the same."""
    config, model, own = KINDS[kind]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        made = model(config(**{**SIZES, **own, **changes})).eval()
        for name, value in made.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(value, std=0.1)
    return made


def prepare(folder: Path, base: Any, **changes: Any) -> Place:
    """The base saved, adapted with random coefficients, and the adapter saved."""
    folder.mkdir(parents=True, exist_ok=True)
    base.save_pretrained(folder / "base")
    options = {
        "r": 4,
        "num_basis": 24,
        "lora_alpha": 24,
        "target_modules": ALL_LINEAR,
        "task_type": "CAUSAL_LM",
    }
    base.name_or_path = base.config._name_or_path = str(folder / "base")
    model = get_peft_model(base, NolaConfig(**{**options, **changes})).eval()
    randomize(model)
    model.save_pretrained(folder / "adapter")
    return Place(folder / "base", folder / "adapter", model)


def assert_same(found: Any, expected: Any) -> None:
    found, expected = found.state_dict(), expected.state_dict()
    assert found.keys() == expected.keys()
    different = [name for name, value in expected.items() if not torch.equal(found[name], value)]
    assert not different


def reload(kind: Any, folder: Path) -> Any:
    """The model in a folder, all of whose weights came from its files."""
    model, told = type(kind).from_pretrained(folder, output_loading_info=True)
    assert not any(told.values()), told
    return model
