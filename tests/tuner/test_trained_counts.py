"""Trained numbers of LLaMA-2 as published (arXiv 2310.02556, table 3), on the meta device."""

import pytest
import torch
from peft import get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from nolakit import NolaConfig

SHAPES = {
    "7B": (4096, 11008, 32, 32, 32, 128, 57_344),
    "13B": (5120, 13824, 40, 40, 40, 256, 143_360),
    "70B": (8192, 28672, 80, 64, 8, 512, 573_440),
}  # hidden, intermediate, layers, heads, key and value heads, num_basis, trained


@pytest.mark.parametrize("name", SHAPES)
def test_llama_2(name):
    hidden, intermediate, layers, heads, kv_heads, num_basis, trained = SHAPES[name]
    config = LlamaConfig(
        hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=kv_heads,
    )  # fmt: skip
    with torch.device("meta"):
        base = LlamaForCausalLM(config)
    nola = NolaConfig(r=16, num_basis=num_basis, lora_alpha=4, target_modules="all-linear")
    model = get_peft_model(base, nola, low_cpu_mem_usage=True)
    assert model.get_nb_trainable_parameters()[0] == trained
    assert len(nola.target_modules) == 7 and sum(nola.method().uniform().values()) == 2 * num_basis
    down = model.base_model.model.model.layers[-1].mlp.down_proj
    assert down.lora_A["default"].weight.shape == (16, intermediate)
    assert down.lora_B["default"].weight.shape == (hidden, 16)
    assert all(parameter.is_meta for parameter in model.parameters())
