"""Base models of many architectures: positions, masks, windows, layouts of weights, quantised weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

import nolakit
from nolakit import errors
from nolakit.serve import Engine, Sampling
from serve.conftest import tiny_llama
from serve.many_adapters import make_many, prompts

SIZES: dict[str, Any] = {
    "vocab_size": 200, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.2, "head_dim": 8,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
T = transformers
BASES: dict[str, tuple[Any, Any, list[str]]] = {
    "mistral with a window": (
        T.MistralForCausalLM, T.MistralConfig(**SIZES, sliding_window=6), ["q_proj", "v_proj"]
    ),
    "gemma3, windows in some layers": (
        T.Gemma3ForCausalLM,
        T.Gemma3TextConfig(**SIZES, sliding_window=5, layer_types=["sliding_attention", "full_attention"]),
        ["q_proj", "up_proj"],
    ),
    "qwen2": (T.Qwen2ForCausalLM, T.Qwen2Config(**{k: v for k, v in SIZES.items() if k != "head_dim"}), ["q_proj"]),
    "gpt2, weights transposed": (
        T.GPT2LMHeadModel,
        T.GPT2Config(vocab_size=200, n_positions=64, n_embd=32, n_layer=2, n_head=4, initializer_range=0.2),
        ["c_attn", "c_fc"],
    ),
    "opt, learned positions with an offset": (
        T.OPTForCausalLM,
        T.OPTConfig(
            vocab_size=200, hidden_size=32, ffn_dim=48, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=64, word_embed_proj_dim=32, init_std=0.2,
        ),
        ["q_proj", "fc1"],
    ),
    "bloom, ALiBi": (
        T.BloomForCausalLM,
        T.BloomConfig(vocab_size=200, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.2),
        ["query_key_value"],
    ),
    "mixtral, routed experts": (
        T.MixtralForCausalLM,
        T.MixtralConfig(**SIZES, num_local_experts=4, num_experts_per_tok=2),
        ["q_proj", "v_proj"],
    ),
}  # fmt: skip


def seeded(make: Any) -> Any:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return make().eval()


@pytest.mark.parametrize("name", BASES)
def test_tokens_are_pefts_over_every_kind_of_base(name, tmp_path):
    kind, config, targets = BASES[name]
    options = {"target_modules": targets, "task_type": "CAUSAL_LM", "fan_in_fan_out": "gpt2" in name}
    configs = [nolakit.NolaConfig(r=2, num_basis=8, seed=seed, **options) for seed in range(4)]
    many = make_many(lambda: seeded(lambda: kind(config)), configs, tmp_path)
    names = [*many.names, None] * 2
    texts = prompts(len(names), 200, 20)
    limits = {"max_length": 64} if "bloom" in name else {}
    with Engine(many.base, many.store, slots=2, max_batch=4, eos_token_ids=[], **limits) as engine:
        got = engine.generate(texts, names, Sampling(max_new_tokens=14))
    assert [finished.ids for finished in got] == [
        many.generate(text, name, 14) for text, name in zip(texts, names, strict=True)
    ]


@pytest.mark.parametrize("bits", [8, 4])
def test_tokens_are_pefts_over_quantised_weights(bits, tmp_path):
    tiny_llama(hidden_size=64, intermediate_size=128).save_pretrained(tmp_path / "base")
    config = transformers.BitsAndBytesConfig(
        load_in_8bit=bits == 8, load_in_4bit=bits == 4, bnb_4bit_compute_dtype=torch.float32
    )

    def quantised() -> Any:
        return transformers.AutoModelForCausalLM.from_pretrained(
            tmp_path / "base", quantization_config=config, dtype=torch.float32
        ).eval()

    options = {"target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}
    configs = [nolakit.NolaConfig(r=2, num_basis=8, seed=seed, **options) for seed in range(3)]
    many = make_many(quantised, configs, tmp_path / "adapters")
    texts = prompts(6, 300, 12)
    with Engine(many.base, many.store, slots=2, max_batch=1, eos_token_ids=[]) as engine:
        got = engine.generate(texts, many.names * 2, Sampling(max_new_tokens=8))
    assert [finished.ids for finished in got] == [
        many.generate(text, name, 8) for text, name in zip(texts, many.names * 2, strict=True)
    ]


def test_a_model_that_keeps_a_state_is_refused(many):
    config = transformers.MambaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, state_size=4)
    with pytest.raises(errors.UnsupportedError, match="keys and values"):
        Engine(transformers.MambaForCausalLM(config).eval(), many.store)


def test_a_model_without_a_context_length_needs_one(many):
    _, config, _ = BASES["bloom, ALiBi"]
    with pytest.raises(errors.ConfigError, match="max_length"):
        Engine(seeded(lambda: transformers.BloomForCausalLM(config)), many.store)


@pytest.mark.parametrize("options", [{"slots": 0}, {"max_batch": 0}, {"max_queue": -1}, {"max_length": 1000}])
def test_sizes_that_cannot_be_are_refused(many, options):
    with pytest.raises(errors.ConfigError):
        Engine(many.base, many.store, **options)


def test_a_closed_engine_leaves_the_base_as_it_was(many):
    inputs = torch.tensor([prompts(1, 300, 9)[0]])
    with torch.inference_mode():
        before = many.base(inputs).logits
        with Engine(many.base, many.store, eos_token_ids=[]) as engine:
            engine.generate(prompts(4, 300, 9), many.names[:4], Sampling(max_new_tokens=4))
        assert torch.equal(many.base(inputs).logits, before)
    assert not any(module._forward_hooks for module in many.base.modules())
