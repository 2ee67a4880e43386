from __future__ import annotations

import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from peft import get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

import nolakit
from nolakit import methods
from nolakit.store.store import Store


@dataclass(frozen=True)
class Served:
    """A base in a folder, and a store of adapters of it."""

    base: Path
    store: Store

    @property
    def path(self) -> Path:
        return self.store.path


def make_base(folder: Path, seed: int = 0, hidden: int = 16) -> Path:
    config = LlamaConfig(
        vocab_size=32, hidden_size=hidden, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, initializer_range=0.1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def make_adapter(base: Path, folder: Path, method: str = "nola", *, seed: int = 0, **options: Any) -> Path:
    """An adapter with random numbers, as PEFT saves it over the base."""
    options = {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj", "up_proj"],
        "task_type": "CAUSAL_LM",
    } | options
    kind = getattr(nolakit, f"{methods.class_name(method)}Config")
    model = get_peft_model(LlamaForCausalLM.from_pretrained(base), kind(**options))
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.named_parameters():
        if "coefficients" in name:
            value.data = torch.randn(value.shape, generator=generator)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def other_base(tmp_path):
    """Makes a base that is another."""
    return lambda **options: make_base(tmp_path / "other", **options)


@pytest.fixture(scope="session")
def adapters(base, tmp_path_factory):
    """Makes an adapter of given options, each once."""
    made: dict[str, Path] = {}

    def adapter(method: str = "nola", over: Path = base, **options: Any) -> Path:
        key = repr((method, over, sorted(options.items())))
        if key not in made:
            made[key] = make_adapter(over, tmp_path_factory.mktemp("adapter"), method, **options)
        return made[key]

    return adapter


@pytest.fixture
def served(base, adapters, tmp_path):
    with Store.create(tmp_path / "adapters.nola") as store:
        store.add("a", adapters(num_basis=8))
        store.add("team/b", adapters(num_basis=8, seed=1))
        yield Served(base, store)


@pytest.fixture
def corrupted(served):
    """Zeros in the place of every content, which the store's own tables would not let anybody write."""

    def corrupt() -> None:
        with sqlite3.connect(served.path) as connection:
            (guard,) = connection.execute(
                "SELECT sql FROM sqlite_master WHERE name = 'blobs_are_immutable'"
            ).fetchone()
            connection.execute("DROP TRIGGER blobs_are_immutable")
            connection.execute("UPDATE blobs SET data = zeroblob(length(data))")
            connection.execute(guard)
        connection.close()

    return corrupt


@pytest.fixture
def vllm(monkeypatch):
    """Modules with the names, classes and signatures of vLLM that the plugin uses, and nothing else of it."""

    class PEFTHelper:
        def __init__(self, config: dict) -> None:
            self.config, self.modules_to_save = config, config.get("modules_to_save")

        @classmethod
        def from_dict(cls, config_dict):
            return cls(config_dict)

        @classmethod
        def from_local_dir(cls, lora_path, max_position_embeddings):
            return cls({"folder": lora_path, "positions": max_position_embeddings})

    class LoRAModel:
        def __init__(self, **made: Any) -> None:
            self.made = made

        @classmethod
        def from_lora_tensors(
            cls, lora_model_id, tensors, peft_helper, device="cuda", dtype=None, model_vocab_size=None,
            weights_mapper=None, skip_prefixes=None,
        ):  # fmt: skip
            return cls(id=lora_model_id, tensors=tensors, device=device, dtype=dtype)

        @classmethod
        def from_local_checkpoint(
            cls, lora_dir, expected_lora_modules, peft_helper, *, lora_model_id=None, device="cuda", dtype=None,
            model_vocab_size=None, weights_mapper=None, skip_prefixes=None, moe_ep_spec=None,
        ):  # fmt: skip
            return cls(folder=lora_dir, expected=expected_lora_modules, id=lora_model_id)

    class LoRAResolver:
        async def resolve_lora(self, base_model_name, lora_name): ...

    class Registry:
        def __init__(self) -> None:
            self.resolvers: dict[str, Any] = {}

        def register_resolver(self, resolver_name, resolver):
            self.resolvers[resolver_name] = resolver

    @dataclass
    class LoRARequest:
        lora_name: str
        lora_int_id: int
        lora_path: str

    class LoRAConfig:
        def __init__(self, max_lora_rank: int = 16) -> None:
            self.max_lora_rank = max_lora_rank

    def parse_fine_tuned_lora_name(name, weights_mapper=None):
        return name.removeprefix("base_model.model.").rpartition(".lora_")[0], ".lora_A." in name

    found = {
        "vllm": {},
        "vllm.lora": {},
        "vllm.config": {},
        "vllm.lora.peft_helper": {"PEFTHelper": PEFTHelper},
        "vllm.lora.lora_model": {"LoRAModel": LoRAModel},
        "vllm.lora.utils": {
            "parse_fine_tuned_lora_name": parse_fine_tuned_lora_name,
            "get_lora_id": lambda: 77,
        },
        "vllm.lora.resolver": {"LoRAResolver": LoRAResolver, "LoRAResolverRegistry": Registry()},
        "vllm.lora.request": {"LoRARequest": LoRARequest},
        "vllm.config.lora": {"LoRAConfig": LoRAConfig},
    }
    modules = {}
    for name, members in found.items():
        modules[name] = ModuleType(name)
        modules[name].__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, modules[name])
    from nolakit.vllm import hooks

    monkeypatch.setattr(hooks, "_ranks", [])
    return modules
