"""Sixty-four adapters of one tiny Llama: methods, ranks, seeds and targets differ."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaForCausalLM

import nolakit
from serve.many_adapters import Many, make_many
from small_models import llama_config

VOCABULARY = 300
TARGETS = (["q_proj", "v_proj"], ["q_proj", "down_proj"], ["k_proj", "o_proj", "gate_proj", "up_proj"])


def tiny_llama(**changes: int) -> LlamaForCausalLM:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        config = llama_config(vocab_size=VOCABULARY, initializer_range=0.2, eos_token_id=2, **changes)
        return LlamaForCausalLM(config).eval()


def config_of(number: int):
    shared = {"target_modules": TARGETS[number % 3], "task_type": "CAUSAL_LM", "lora_alpha": 4 + number % 5}
    if number % 8 == 5:
        return nolakit.VeraConfig(r=8, **shared)
    if number % 8 == 6:
        return nolakit.LoraXsConfig(r=4, **shared)
    return nolakit.NolaConfig(
        r=1 + number % 4, num_basis=8, seed=number % 6, share_basis=bool(number % 2), **shared
    )


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Many:
    return make_many(tiny_llama, map(config_of, range(64)), tmp_path_factory.mktemp("many"))
