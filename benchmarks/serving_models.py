"""A Llama of 17.3 million random weights, and ten thousand adapters of it in a store."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from nolakit import NolaConfig, Store, pack, read_packed
from nolakit.adapter.container import write_container
from nolakit.store.adding import New

COUNT = 10_000
VOCABULARY = 4096
RANK, NUM_BASIS, BITS = 8, 64, 8
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def base(**changes: Any) -> LlamaForCausalLM:
    """Always the same."""
    sizes = {
        "hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 8, "num_attention_heads": 6,
        "num_key_value_heads": 6, "vocab_size": VOCABULARY, "max_position_embeddings": 1024, **changes,
    }  # fmt: skip
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)  # noqa: TID251 - within the fork
        return LlamaForCausalLM(LlamaConfig(**sizes, eos_token_id=None, pad_token_id=0)).eval()


def names(count: int = COUNT) -> list[str]:
    return [f"adapter-{number:05d}" for number in range(count)]


def packed_adapters(model: Any, count: int, seed: int = 0) -> list[bytes]:
    """NOLA adapters of all linear layers with random coefficients, 8 bits each."""
    config = NolaConfig(r=RANK, num_basis=NUM_BASIS, target_modules=LINEAR, task_type="CAUSAL_LM")
    wrapped = get_peft_model(model, config)
    with tempfile.TemporaryDirectory() as folder:
        wrapped.save_pretrained(folder)
        one = read_packed(pack(folder, BITS))
    wrapped.unload()
    said = one.description
    description = {
        "version": 1, "bits": BITS, "modules": said.patterns, "counts": said.counts, "config": said.config,
    }  # fmt: skip
    numbers, modules = one.stored["coefficients"].shape, len(one.rows)
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(count):
        values = torch.randint(-127, 128, numbers, generator=generator, dtype=torch.int8)
        scales = torch.rand(modules, 2, generator=generator) / 40
        made.append(write_container(description, {"coefficients": values, "scales": scales}))
    return made


def filled_store(path: Path, model: Any, count: int = COUNT) -> Store:
    """A store with `count` adapters."""
    store = Store.create(path)
    adapters = packed_adapters(model, count)
    store.add_all(New(name, data) for name, data in zip(names(count), adapters, strict=True))
    return store


def prompts(count: int, length: int, seed: int = 0) -> list[list[int]]:
    """Random token ids."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCABULARY, (count, length), generator=generator).tolist()
