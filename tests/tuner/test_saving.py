"""The saved file holds coefficients and nothing else, and comes back the same every way PEFT loads it."""

import json

import peft
import pytest
import torch
import transformers
from peft import AutoPeftModelForCausalLM, PeftConfig, PeftModel, get_peft_model
from safetensors.torch import load_file

from nolakit import NolaConfig, expand
from small_models import BY_NAME, CASES, llama_config
from tuner.adapting import adapted, assert_differ, coefficients, config_for, logits

by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@by_case
def test_file_holds_only_coefficients(case, tmp_path):
    model = adapted(case, num_basis_a=10, num_basis_b=6)
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    trained = {name.replace(".default.", "."): value for name, value in coefficients(model).items()}
    assert sorted(tensors) == sorted(trained)
    for name, tensor in tensors.items():
        role, leaf = name.split(".")[-2:]
        assert leaf == "coefficients" and name.startswith("base_model.model.")
        assert tensor.shape == ((10,) if role == "lora_A" else (6,)) and tensor.dtype == torch.float32
        assert torch.equal(tensor, trained[name])


def test_twelve_layer_file_is_at_most_8_percent_larger_than_its_coefficients(tmp_path):
    base = transformers.LlamaForCausalLM(llama_config(num_hidden_layers=12))
    config = NolaConfig(r=4, num_basis=512, target_modules=["q_proj", "v_proj"])
    get_peft_model(base, config).save_pretrained(tmp_path)
    size = (tmp_path / "adapter_model.safetensors").stat().st_size
    trained = 12 * 2 * 2 * 512 * 4  # layers, modules, factors, coefficients, bytes
    assert trained < size <= 1.08 * trained


@by_case
@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_reload_under_another_name(case, low_cpu_mem_usage, tmp_path):
    model, batch = adapted(case), case.batch()
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(
        case.make(), tmp_path, adapter_name="other", low_cpu_mem_usage=low_cpu_mem_usage
    )
    assert loaded.active_adapter == "other"
    assert torch.equal(logits(loaded.eval(), batch), logits(model, batch))
    assert not any(value.requires_grad for value in loaded.parameters())
    assert all(value.device.type == "cpu" for value in loaded.state_dict().values())


@by_case
def test_named_adapter_is_saved_in_its_own_folder(case, tmp_path):
    model, batch = adapted(case, adapter_name="mine"), case.batch()
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(case.make(), tmp_path / "mine", is_trainable=True)
    expected = logits(model, batch)
    assert torch.equal(logits(loaded.eval(), batch), expected)
    assert sorted(coefficients(loaded)) == sorted(n for n, p in loaded.named_parameters() if p.requires_grad)
    assert_differ(expected, logits(case.make(), batch))


def test_configuration_survives_the_file(tmp_path):
    config = config_for(
        BY_NAME["llama"], seed=2**64 - 1, share_basis=False, num_basis_a=3, use_rslora=True,
        rank_pattern={"q_proj": 2}, alpha_pattern={"v_proj": 3}, layers_to_transform=[1], lora_dropout=0.5,
    )  # fmt: skip
    config.save_pretrained(tmp_path)
    loaded = PeftConfig.from_pretrained(tmp_path)
    assert type(loaded) is NolaConfig
    assert loaded == config and loaded.seed == 2**64 - 1
    written = json.loads((tmp_path / "adapter_config.json").read_text())
    assert written["peft_type"] == "NOLAKIT_NOLA"
    assert not {"use_dora", "init_lora_weights", "lora_bias"} & set(written)


def test_auto_classes_open_an_adapter_folder(tmp_path):
    case = BY_NAME["llama"]
    batch, base = case.batch(), case.make()
    base.save_pretrained(tmp_path / "base")
    base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    model = get_peft_model(base, config_for(case, init_weights=False)).eval()
    model.save_pretrained(tmp_path / "adapter")
    expected = logits(model, batch)
    assert_differ(expected, logits(case.make(), batch))

    typed = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")
    assert torch.equal(logits(typed.eval(), batch), expected)
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "adapter")
    assert torch.equal(logits(plain.eval(), batch), expected)


def test_auto_model_without_a_task(tmp_path):
    case = BY_NAME["vit"]
    case.make().save_pretrained(tmp_path / "base")
    base = transformers.ViTForImageClassification.from_pretrained(tmp_path / "base")
    model = get_peft_model(base, config_for(case, init_weights=False)).eval()
    model.save_pretrained(tmp_path / "adapter")
    expected = logits(model, case.batch())
    loaded = peft.AutoPeftModel.from_pretrained(tmp_path / "adapter").eval()
    assert torch.equal(logits(loaded, case.batch()), expected)
    auto = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "adapter").eval()
    assert torch.equal(logits(auto, case.batch()), expected)


@pytest.mark.parametrize("share_basis", [True, False])
@pytest.mark.parametrize("trained_on, loaded_on", [("full", "bare"), ("bare", "full"), ("full", "full")])
def test_same_factors_with_and_without_a_head(trained_on, loaded_on, share_basis, tmp_path):
    """AutoModelForCausalLM holds its layers under `model.`, AutoModel does not."""
    case = BY_NAME["llama"]

    def build(kind):
        full = case.make()
        return full if kind == "full" else full.model

    config = config_for(case, share_basis=share_basis, init_weights=False, task_type=None)
    model = get_peft_model(build(trained_on), config)
    model.save_pretrained(tmp_path / "first")
    loaded = PeftModel.from_pretrained(build(loaded_on), tmp_path / "first")
    expected, found = factors(model), factors(loaded)
    assert len(expected) == 12 and sorted(expected) == sorted(found)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    loaded.save_pretrained(tmp_path / "again")
    first, again = (bare(expand(tmp_path / folder)) for folder in ("first", "again"))
    assert len(first) == 12 and sorted(first) == sorted(again)
    assert all(torch.equal(again[name], first[name]) for name in first)


def bare(tensors):
    """Names as they are without the head."""
    return {n.removeprefix("base_model.model.").removeprefix("model."): t for n, t in tensors.items()}


def factors(model):
    ends = ("lora_A.default", "lora_B.default")
    return bare({n: m.weight.detach() for n, m in model.named_modules() if n.endswith(ends)})
