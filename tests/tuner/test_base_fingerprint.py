"""An adapter knows its base: another is refused, the same one in another precision is not."""

import copy

import pytest
import torch
from peft import PeftConfig, PeftModel, get_peft_model
from transformers import LlamaForCausalLM

from nolakit.errors import BaseMismatchError
from small_models import BY_NAME, CASES, llama_config
from tuner.adapting import adapted, assert_close, coefficients, config_for, logits, randomize

LLAMA = BY_NAME["llama"]
by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@by_case
def test_other_weights(case, tmp_path):
    adapted(case).save_pretrained(tmp_path)
    with pytest.raises(BaseMismatchError, match=r"weights are .* away"):
        PeftModel.from_pretrained(case.make(seed=1), tmp_path)


def test_a_refused_base_is_left_as_it_was(tmp_path):
    adapted(LLAMA).save_pretrained(tmp_path)
    base, batch = LLAMA.make(seed=1), LLAMA.batch()
    names, before = [name for name, _ in base.named_modules()], logits(base, batch)
    with pytest.raises(BaseMismatchError):
        PeftModel.from_pretrained(base, tmp_path)
    assert [name for name, _ in base.named_modules()] == names
    assert all(parameter.requires_grad for parameter in base.parameters())
    assert torch.equal(logits(base, batch), before)

    model = get_peft_model(base, config_for(LLAMA, init_weights=False)).eval()
    before = logits(model, batch)
    with pytest.raises(BaseMismatchError):
        model.load_adapter(tmp_path, "other")
    assert list(model.peft_config) == ["default"]
    assert torch.equal(logits(model, batch), before)


@pytest.mark.parametrize("size", [{"intermediate_size": 52}, {"num_hidden_layers": 3}])
def test_other_shapes(size, tmp_path):
    adapted(LLAMA).save_pretrained(tmp_path)
    with pytest.raises(BaseMismatchError, match="module names, shapes or ranks differ"):
        PeftModel.from_pretrained(LlamaForCausalLM(llama_config(**size)), tmp_path)


def test_other_ranks(tmp_path):
    adapted(LLAMA).save_pretrained(tmp_path)
    config = PeftConfig.from_pretrained(tmp_path)
    config.r = 3
    with pytest.raises(BaseMismatchError, match="ranks differ"):
        PeftModel.from_pretrained(LLAMA.make(), tmp_path, config=config)


def test_check_can_be_switched_off(tmp_path):
    model = adapted(LLAMA)
    model.save_pretrained(tmp_path)
    config = PeftConfig.from_pretrained(tmp_path)
    config.base_fingerprint = None
    loaded = PeftModel.from_pretrained(LLAMA.make(seed=1), tmp_path, config=config)
    assert all(torch.equal(v, coefficients(model)[k]) for k, v in coefficients(loaded).items())


@by_case
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_same_base_in_16_bits(case, dtype, tmp_path):
    model = adapted(case)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(case.make().to(dtype), tmp_path)
    assert all(torch.equal(v, coefficients(model)[k]) for k, v in coefficients(loaded).items())


def test_same_base_with_four_bit_noise(tmp_path):
    """A base that was quantised and expanded again, to 16 steps a row."""
    adapted(LLAMA).save_pretrained(tmp_path)
    base = LLAMA.make()
    for parameter in base.parameters():
        if parameter.dim() == 2:
            step = parameter.data.abs().amax(dim=1, keepdim=True) / 7.5
            parameter.data = (parameter.data / step).round() * step
    PeftModel.from_pretrained(base, tmp_path)


def test_base_on_the_meta_device_is_not_read(tmp_path):
    adapted(LLAMA).save_pretrained(tmp_path)
    with torch.device("meta"):
        base = LLAMA.make()
    PeftModel.from_pretrained(base, tmp_path, low_cpu_mem_usage=True)


def test_one_configuration_object_for_two_bases(tmp_path):
    config = config_for(LLAMA)
    first = get_peft_model(LLAMA.make(), config)
    second = get_peft_model(LlamaForCausalLM(llama_config(num_hidden_layers=3)), config)
    randomize(second)
    assert len(coefficients(second)) == 18 and len(coefficients(first)) == 12
    second.save_pretrained(tmp_path)
    third = get_peft_model(LLAMA.make(seed=1), copy.deepcopy(config))
    randomize(third)
    third.save_pretrained(tmp_path / "third")
    loaded = PeftModel.from_pretrained(LLAMA.make(seed=1), tmp_path / "third").eval()
    assert_close(logits(loaded, LLAMA.batch()), logits(third.eval(), LLAMA.batch()))
