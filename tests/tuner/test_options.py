"""LoRA's options that keep their meaning."""

import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file

from small_models import BY_NAME
from tuner.adapting import adapted, assert_close, assert_differ, coefficients, config_for, logits, train

LLAMA, BERT = BY_NAME["llama"], BY_NAME["bert"]


def adapted_paths(model):
    return {name.rsplit(".lora_", 1)[0].removeprefix("base_model.model.") for name in coefficients(model)}


def layer(model, path):
    return model.get_base_model().get_submodule(path)


def survives(model, folder):
    """Saved and loaded, the adapter gives the same outputs."""
    model.eval().save_pretrained(folder)
    loaded = PeftModel.from_pretrained(LLAMA.make(), folder).eval()
    expected = logits(model, LLAMA.batch())
    assert torch.equal(logits(loaded, LLAMA.batch()), expected)
    assert_differ(expected, logits(LLAMA.make(), LLAMA.batch()))
    return loaded


def test_rank_pattern_and_alpha_pattern(tmp_path):
    patterns = {"rank_pattern": {"q_proj": 2, "1.mlp.down_proj": 8}, "alpha_pattern": {"v_proj": 3}}
    model = survives(adapted(LLAMA, **patterns), tmp_path)
    found = {
        path: (layer(model, path).lora_A["default"].weight.shape[0], layer(model, path).scaling["default"])
        for path in adapted_paths(model)
    }
    assert found == {
        f"model.layers.{i}.{path}": expected
        for i in (0, 1)
        for path, expected in {
            "self_attn.q_proj": (2, 4.0),
            "self_attn.v_proj": (4, 0.75),
            "mlp.down_proj": (4, 2.0) if i == 0 else (8, 1.0),
        }.items()
    }
    assert {value.numel() for value in coefficients(model).values()} == {24}  # whatever the rank


def test_smaller_rank_is_a_prefix_of_a_larger():
    small, large = adapted(LLAMA, r=2, lora_alpha=4), adapted(LLAMA, r=4)
    for path in adapted_paths(small):
        a, b = (layer(m, path).lora_A["default"].weight for m in (small, large))
        assert torch.equal(a, b[:2])


def test_use_rslora(tmp_path):
    model = survives(adapted(LLAMA, use_rslora=True), tmp_path)
    assert {layer(model, path).scaling["default"] for path in adapted_paths(model)} == {8 / 2}


def test_layers_to_transform(tmp_path):
    model = survives(adapted(LLAMA, layers_to_transform=[1]), tmp_path)
    assert {path.split(".")[2] for path in adapted_paths(model)} == {"1"}


def test_all_linear_with_exclude_modules(tmp_path):
    options = {"target_modules": "all-linear", "exclude_modules": ["o_proj", "gate_proj"]}
    model = survives(adapted(LLAMA, **options), tmp_path)
    names = {path.rpartition(".")[2] for path in adapted_paths(model)}
    assert names == {"q_proj", "k_proj", "v_proj", "up_proj", "down_proj"}  # the head is left out
    assert model.peft_config["default"].target_modules == names  # short, and matches nothing else


def test_all_linear_without_a_head_does_not_catch_the_head(tmp_path):
    """On BERT every linear layer is "dense", "query" and so on, the pooler's too."""
    model = get_peft_model(BERT.make(), config_for(BERT, target_modules="all-linear", task_type="SEQ_CLS"))
    before = adapted_paths(model)
    model.save_pretrained(tmp_path)
    assert adapted_paths(PeftModel.from_pretrained(BERT.make(), tmp_path)) == before
    assert len(before) == 2 * 6 + 1


def test_modules_to_save(tmp_path):
    model = get_peft_model(LLAMA.make(), config_for(LLAMA, modules_to_save=["lm_head"]))
    before = layer(model, "lm_head").original_module.weight.clone()
    train(model, LLAMA.batch())
    loaded = survives(model, tmp_path)
    assert_differ(layer(loaded, "lm_head").modules_to_save["default"].weight, before)
    assert torch.equal(layer(loaded, "lm_head").original_module.weight, before)


def test_task_type_trains_the_head(tmp_path):
    model, batch = get_peft_model(BERT.make(), config_for(BERT, task_type="SEQ_CLS")), BERT.batch()
    train(model, batch)
    model.eval().save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(BERT.make(), tmp_path).eval()
    assert torch.equal(logits(loaded, batch), logits(model, batch))
    others = [k for k in load_file(tmp_path / "adapter_model.safetensors") if not k.endswith("coefficients")]
    assert others == ["base_model.model.classifier.bias", "base_model.model.classifier.weight"]


def test_trainable_token_indices(tmp_path):
    options = {"trainable_token_indices": {"embed_tokens": [3, 5]}}
    model = get_peft_model(LLAMA.make(), config_for(LLAMA, **options))
    before = LLAMA.make().model.embed_tokens.weight
    train(model, LLAMA.batch(16))
    loaded = survives(model, tmp_path)
    merged = loaded.merge_and_unload()
    changed = (merged.model.embed_tokens.weight != before).any(dim=1).nonzero().flatten()
    assert changed.tolist() == [3, 5]
    assert_close(logits(merged, LLAMA.batch()), logits(model, LLAMA.batch()))


def test_layer_replication(tmp_path):
    """Replicated layers share base weights and have adapters of their own."""
    model = adapted(LLAMA, layer_replication=[[0, 2], [0, 2]])
    loaded = survives(model, tmp_path)
    assert {path.split(".")[2] for path in adapted_paths(loaded)} == {"0", "1", "2", "3"}
    first, copy = (layer(loaded, f"model.layers.{i}.self_attn.q_proj") for i in (0, 2))
    assert first.base_layer.weight is copy.base_layer.weight
    assert_differ(first.lora_A["default"].weight, copy.lora_A["default"].weight)


@pytest.mark.parametrize("bias", ["all", "lora_only"])
def test_bias(bias, tmp_path):
    case = BY_NAME["plain"]
    model, batch = get_peft_model(case.make(), config_for(case, bias=bias)), case.batch()
    trained = {n.split(".")[2] for n, p in model.named_parameters() if p.requires_grad and "bias" in n}
    assert trained == ({"conv", "fc1"} if bias == "lora_only" else {"conv", "grouped", "fc1", "fc2"})
    train(model, batch)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(case.make(), tmp_path)
    assert torch.equal(logits(loaded.eval(), batch), logits(model.eval(), batch))


def test_lora_dropout():
    model, batch = adapted(LLAMA, lora_dropout=0.5), LLAMA.batch()
    assert_close(logits(model, batch), logits(adapted(LLAMA), batch))
    model.train()
    assert_differ(logits(model, batch), logits(model, batch))
    model.merge_adapter()
    assert torch.equal(logits(model, batch), logits(model, batch))


def test_layers_pattern(tmp_path):
    model = adapted(LLAMA, layers_to_transform=[1], layers_pattern="layers")
    assert coefficients(model) and all(".layers.1." in name for name in coefficients(model))
    survives(model, tmp_path)


def test_ensure_weight_tying_keeps_a_trained_embedding_tied(tmp_path):
    base = LLAMA.make()
    base.config.tie_word_embeddings = True
    base.tie_weights()
    config = config_for(LLAMA, modules_to_save=["embed_tokens"], ensure_weight_tying=True)
    model = get_peft_model(base, config)
    train(model, LLAMA.batch())
    embedding = model.get_input_embeddings().modules_to_save["default"].weight
    assert embedding.requires_grad
    assert model.get_output_embeddings().modules_to_save["default"].weight is embedding
