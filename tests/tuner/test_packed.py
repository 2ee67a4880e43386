"""Packed adapters over a base, and training for few bits."""

from __future__ import annotations

import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftConfig, PeftModel, get_peft_model

import nolakit
from nolakit.errors import AdapterError, BaseMismatchError, ConfigError
from small_models import BY_NAME, CASES
from tuner.adapting import adapted, assert_close, assert_differ, coefficients, config_for, logits, train

by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
LLAMA = BY_NAME["llama"]


@by_case
@pytest.mark.parametrize("bits, form", [(32, "x.safetensors"), (32, "x"), (4, "x.safetensors"), (4, "x")])
def test_peft_loads_what_the_file_expands_to(case, bits, form, tmp_path):
    model, batch = adapted(case), case.batch()
    model.save_pretrained(tmp_path / "adapter")
    packed = nolakit.write_packed(tmp_path / "adapter", tmp_path / form, bits=bits)
    load = PeftModel.from_pretrained if packed.is_dir() else nolakit.load
    loaded = load(case.make(), packed)
    unpacked = PeftModel.from_pretrained(case.make(), nolakit.unpack(packed, tmp_path / "again"))
    found = logits(loaded.eval(), batch)
    assert torch.equal(found, logits(unpacked.eval(), batch))
    if bits == 32:
        assert torch.equal(found, logits(model, batch))
    expanded = nolakit.expand(packed)
    for name, module in loaded.base_model.model.named_modules():
        for role in ("lora_A", "lora_B"):
            factors = getattr(module, role, {})
            if "default" in factors:
                assert_close(factors["default"].weight, expanded[f"base_model.model.{name}.{role}.weight"])
    merged = loaded.merge_and_unload()
    assert_close(logits(merged, batch), found)


@pytest.mark.parametrize("form", ["x.safetensors", "x"])
def test_modules_that_were_trained_whole_come_with_it(form, tmp_path):
    case = BY_NAME["bert"]
    model = adapted(case, modules_to_save=["classifier"])
    with torch.no_grad():
        model.base_model.model.classifier.modules_to_save["default"].weight.mul_(2)
    model.save_pretrained(tmp_path / "adapter")
    packed = nolakit.write_packed(tmp_path / "adapter", tmp_path / form, bits=32)
    base = case.make()
    for name in ("default", "another"):
        base = nolakit.load(base, packed, name)
    base.set_adapter("another")
    assert torch.equal(logits(base.eval(), case.batch()), logits(model, case.batch()))


@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_a_packed_folder_loads_in_every_way_of_peft_and_is_saved_unpacked(tmp_path, low_cpu_mem_usage):
    base = LLAMA.make()
    base.save_pretrained(tmp_path / "base")
    model = adapted(LLAMA, task_type="CAUSAL_LM")
    model.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
    model.save_pretrained(tmp_path / "adapter")
    packed = nolakit.write_packed(tmp_path / "adapter", tmp_path / "packed", bits=8)
    assert PeftConfig.from_pretrained(packed).packed
    loaded = PeftModel.from_pretrained(base, packed, "first", low_cpu_mem_usage=low_cpu_mem_usage)
    loaded.load_adapter(packed, "second", low_cpu_mem_usage=low_cpu_mem_usage)
    first, second = (list(coefficients(loaded, name).values()) for name in ("first", "second"))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    batch = LLAMA.batch()
    auto = AutoPeftModelForCausalLM.from_pretrained(packed)
    assert_close(logits(auto.eval(), batch), logits(loaded.eval(), batch))
    auto.save_pretrained(tmp_path / "saved")
    assert not PeftConfig.from_pretrained(tmp_path / "saved").packed
    assert nolakit.inspect(tmp_path / "saved").bits == 32


def test_a_file_becomes_one_more_adapter(tmp_path):
    adapted(LLAMA).save_pretrained(tmp_path / "adapter")
    packed = nolakit.write_packed(tmp_path / "adapter", tmp_path / "x.safetensors")
    model = adapted(LLAMA, seed=1)
    assert nolakit.load(model, packed, "other") is model
    model.set_adapter("other")
    assert torch.equal(logits(model.eval(), LLAMA.batch()), logits(adapted(LLAMA), LLAMA.batch()))
    trained = nolakit.load(LLAMA.make(), packed, is_trainable=True)
    assert all(value.requires_grad for name, value in trained.named_parameters() if "coefficients" in name)


def test_what_does_not_unpack_is_told_and_not_left_without_an_update(tmp_path):
    adapted(LLAMA).save_pretrained(tmp_path / "adapter")
    packed = nolakit.write_packed(tmp_path / "adapter", tmp_path / "packed", bits=8)
    model = LLAMA.make()
    model.load_adapter(str(packed))  # transformers' own loader
    with pytest.raises(AdapterError, match=r"nolakit\.load"):
        logits(model, LLAMA.batch())


def test_another_base_a_damaged_file_and_another_configuration_are_refused(tmp_path):
    adapted(LLAMA).save_pretrained(tmp_path / "adapter")
    packed = nolakit.write_packed(tmp_path / "adapter", tmp_path / "x.safetensors", bits=8)
    with pytest.raises(BaseMismatchError):
        nolakit.load(LLAMA.make(seed=5), packed)
    folder = nolakit.write_packed(tmp_path / "adapter", tmp_path / "packed", bits=8)
    config = folder / "adapter_config.json"
    config.write_text(config.read_text().replace('"seed": 7', '"seed": 8'))
    with pytest.raises(AdapterError, match="of two adapters"):
        PeftModel.from_pretrained(LLAMA.make(), folder)
    data = bytearray(packed.read_bytes())
    data[-40] ^= 1
    (folder / "adapter_model.safetensors").write_bytes(data)
    with pytest.raises(AdapterError, match="damaged"):
        PeftModel.from_pretrained(LLAMA.make(), folder)


@by_case
@pytest.mark.parametrize("bits", [8, 4, 2])
def test_packing_costs_what_was_trained_for_few_bits_nothing(case, bits, tmp_path):
    model, batch = get_peft_model(case.make(), config_for(case, coefficient_bits=bits)), case.batch()
    losses = train(model, batch)
    assert losses[-1] < losses[0]
    expected = logits(model.eval(), batch)
    model.save_pretrained(tmp_path / "adapter")
    packed = nolakit.write_packed(tmp_path / "adapter", tmp_path / "x.safetensors", bits=max(bits, 4))
    assert_close(logits(nolakit.load(case.make(), packed).eval(), batch), expected)
    factors, of_folder = nolakit.expand(packed), nolakit.expand(tmp_path / "adapter")
    assert all(torch.equal(factors[key], of_folder[key]) for key in of_folder)
    for name, module in model.base_model.model.named_modules():
        for role in ("lora_A", "lora_B"):
            if "default" in getattr(module, role, {}):
                trained = getattr(module, role)["default"].weight
                assert_close(trained, factors[f"base_model.model.{name}.{role}.weight"])
    latent = PeftModel.from_pretrained(case.make(), tmp_path / "adapter")
    assert torch.equal(logits(latent.eval(), batch), expected)
    exported = nolakit.export_lora(tmp_path / "adapter", tmp_path / "lora")
    assert_close(logits(PeftModel.from_pretrained(case.make(), exported).eval(), batch), expected)
    plain = nolakit.write_packed(tmp_path / "adapter", tmp_path / "plain.safetensors", bits=32)
    assert_close(logits(nolakit.load(case.make(), plain).eval(), batch), expected)


def test_few_bits_change_the_model():
    model = adapted(LLAMA)
    assert_differ(logits(adapted(LLAMA, coefficient_bits=2), LLAMA.batch()), logits(model, LLAMA.batch()))
    with pytest.raises(ConfigError, match="coefficient_bits=5"):
        config_for(LLAMA, coefficient_bits=5)
