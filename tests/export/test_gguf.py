"""GGUF adapters in llama.cpp, and greedy tokens equal across all exports."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from peft import PeftModel

from export.llama_cpp import llama_cpp_tokens, transformers_tokens, write_base
from export.proof import KINDS, decoder, prepare
from nolakit import export_gguf, export_lora, export_merged
from nolakit.errors import (
    AdapterError,
    BaseMismatchError,
    ConfigError,
    ModelError,
    OutputExistsError,
    UnsupportedError,
)
from nolakit.export.gguf import permuted
from small_models import BY_NAME
from tuner.adapting import adapted

PROMPT = [5, 17, 40, 33, 8]
COUNT = 24


@pytest.mark.parametrize("kind", KINDS)
def test_all_exports_say_the_same(tmp_path: Path, kind: str) -> None:
    place = prepare(tmp_path, decoder(kind))
    said = transformers_tokens(place.model, PROMPT, COUNT)
    assert said != transformers_tokens(decoder(kind), PROMPT, COUNT)
    lora = export_lora(place.adapter, tmp_path / "lora")
    loaded = PeftModel.from_pretrained(decoder(kind), str(lora))
    assert transformers_tokens(loaded, PROMPT, COUNT) == said
    merged = export_merged(place.adapter, tmp_path / "merged", max_shard_size="40KB")
    model = transformers.AutoModelForCausalLM.from_pretrained(merged).eval()
    assert transformers_tokens(model, PROMPT, COUNT) == said
    base = write_base(decoder(kind), tmp_path / "base.gguf")
    adapter = export_gguf(place.adapter, tmp_path / "adapter.gguf")
    assert llama_cpp_tokens(base, PROMPT, COUNT, adapter) == said
    assert llama_cpp_tokens(base, PROMPT, COUNT) == transformers_tokens(decoder(kind), PROMPT, COUNT)
    assert llama_cpp_tokens(write_base(model, tmp_path / "merged.gguf"), PROMPT, COUNT) == said


def read(path: Path) -> dict[str, Any]:
    """Tensors of a GGUF file by name."""
    return {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}


def test_scaling_of_each_module_is_folded_in(tmp_path: Path) -> None:
    """llama.cpp scales every module by lora_alpha / rank; ranks, rslora and patterns must come out the same."""
    options = {"use_rslora": True, "alpha_pattern": {"q_proj": 5, r"layers\.1\.mlp\.up_proj": 40}, "r": 8}
    place = prepare(tmp_path, decoder(), rank_pattern={"v_proj": 2}, **options)
    said = transformers_tokens(place.model, PROMPT, COUNT)
    base = write_base(decoder(), tmp_path / "base.gguf")
    adapter = export_gguf(place.adapter, tmp_path / "adapter.gguf")
    assert llama_cpp_tokens(base, PROMPT, COUNT, adapter) == said
    layers = dict(place.model.get_base_model().named_modules())
    found = read(adapter)
    assert len(found) == 2 * 2 * 7
    for tensor, module in (("attn_v", "self_attn.v_proj"), ("ffn_up", "mlp.up_proj")):
        lora_a, lora_b = (found[f"blk.1.{tensor}.weight.lora_{role}"] for role in "ab")
        update = 24 / lora_a.shape[0] * lora_b.astype(np.float64) @ lora_a.astype(np.float64)
        expected = layers[f"model.layers.1.{module}"].get_delta_weight("default").detach().double().numpy()
        np.testing.assert_allclose(update, expected, rtol=1e-5, atol=1e-6)


def test_an_update_scaled_by_zero_stays_zero(tmp_path: Path) -> None:
    """llama.cpp takes lora_alpha 0 for no scaling."""
    place = prepare(tmp_path, decoder(), lora_alpha=0)
    base = write_base(decoder(), tmp_path / "base.gguf")
    adapter = export_gguf(place.adapter, tmp_path / "adapter.gguf")
    assert llama_cpp_tokens(base, PROMPT, COUNT, adapter) == llama_cpp_tokens(base, PROMPT, COUNT)


def test_rows_of_q_and_k_are_permuted_by_their_own_heads() -> None:
    rows = np.arange(12, dtype=np.float32)[:, None]  # two heads of six rows, three heads of four
    assert permuted(rows, 2)[:, 0].tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]
    assert permuted(rows, 3)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11]


def test_float16_is_the_factors_rounded_and_an_adapter_over_a_headless_model_has_the_same_names(
    tmp_path: Path,
) -> None:
    place = prepare(tmp_path / "a", decoder())
    wide = read(export_gguf(place.adapter, tmp_path / "wide.gguf"))
    half = read(export_gguf(place.adapter, tmp_path / "half.gguf", dtype=torch.float16))
    assert half.keys() == wide.keys()
    assert all(np.array_equal(half[name], value.astype(np.float16)) for name, value in wide.items())
    bare = prepare(tmp_path / "b", decoder().model, task_type=None)
    again = read(export_gguf(bare.adapter, tmp_path / "bare.gguf", base=bare.base / "config.json"))
    assert again.keys() == wide.keys()
    assert all(np.array_equal(again[name], value) for name, value in wide.items())


def test_only_the_bases_configuration_is_read(tmp_path: Path) -> None:
    place = prepare(tmp_path, decoder())
    (place.base / "model.safetensors").unlink()
    seen: list[tuple[int, int]] = []
    export_gguf(place.adapter, tmp_path / "adapter.gguf", progress=lambda *step: seen.append(step))
    assert seen == [(number, 14) for number in range(1, 15)]
    with pytest.raises(OutputExistsError):
        export_gguf(place.adapter, tmp_path / "adapter.gguf")
    export_gguf(place.adapter, tmp_path / "adapter.gguf", overwrite=True)


REFUSED: list[tuple[dict[str, Any], dict[str, Any], type[Exception], str]] = [
    ({"model_type": "gpt2"}, {}, UnsupportedError, "'gpt2'.*llama, mistral"),
    ({"num_hidden_layers": 1}, {}, BaseMismatchError, r"layers\.1"),
    ({"num_attention_heads": 5}, {}, BaseMismatchError, "48 rows at .*q_proj"),
    ({"num_key_value_heads": 5}, {}, BaseMismatchError, "24 rows at .*k_proj"),
    ({"num_hidden_layers": "two"}, {}, ModelError, "'two'"),
    (
        {},
        {"modules_to_save": ["lm_head"]},
        UnsupportedError,
        "1 tensors trained whole .*lm_head.*--to merged",
    ),
    ({}, {"trainable_token_indices": [3]}, UnsupportedError, "trained whole"),
    (
        {"tie_word_embeddings": True},
        {"target_modules": ["lm_head"]},
        UnsupportedError,
        "ties to its embeddings",
    ),
]


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning")
@pytest.mark.parametrize(("config", "options", "error", "said"), REFUSED, ids=lambda value: str(value)[:30])
def test_what_cannot_be_written_is_refused_by_name(
    tmp_path: Path, config: dict[str, Any], options: dict[str, Any], error: type[Exception], said: str
) -> None:
    place = prepare(tmp_path, decoder(), **options)
    values = json.loads((place.base / "config.json").read_text()) | config
    (place.base / "config.json").write_text(json.dumps(values))
    with pytest.raises(error, match=said):
        export_gguf(place.adapter, tmp_path / "adapter.gguf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "base"]


def test_an_adapted_head_that_is_not_tied_is_written(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        place = prepare(tmp_path, decoder(), target_modules=["lm_head", "k_proj"])
    adapter = export_gguf(place.adapter, tmp_path / "adapter.gguf")
    base = write_base(decoder(), tmp_path / "base.gguf")
    assert llama_cpp_tokens(base, PROMPT, COUNT, adapter) == transformers_tokens(place.model, PROMPT, COUNT)


def test_values_and_layers_that_the_format_lacks(tmp_path: Path) -> None:
    place = prepare(tmp_path, decoder(), lora_alpha=16)
    with pytest.raises(ConfigError, match="bfloat16"):
        export_gguf(place.adapter, tmp_path / "adapter.gguf", dtype=torch.bfloat16)
    adapted(BY_NAME["plain"]).save_pretrained(tmp_path / "convolution")
    with pytest.raises(UnsupportedError, match="convolution, 'conv'"):
        export_gguf(tmp_path / "convolution", tmp_path / "adapter.gguf", base=place.base)
    huge = prepare(tmp_path / "huge", decoder(), alpha_pattern={"o_proj": 100_000_000})
    with pytest.raises(AdapterError, match=r"o_proj.*float16"):
        export_gguf(huge.adapter, tmp_path / "adapter.gguf", dtype=torch.float16)
    with pytest.raises(ModelError, match="nowhere"):
        export_gguf(place.adapter, tmp_path / "adapter.gguf", base=tmp_path / "nowhere")
    assert not (tmp_path / "adapter.gguf").exists()
