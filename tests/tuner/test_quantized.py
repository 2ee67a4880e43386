"""Quantised bases: 8 and 4 bits of bitsandbytes, int8 of torchao."""

import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import LlamaForCausalLM

from tuner.adapting import adapted, coefficients, config_for, logits, randomize, train
from tuner.quantized import BASES, CASE, NOISE, relative

ignore_rounding = pytest.mark.filterwarnings(
    "ignore:(Merge|Unmerge) lora module to .-bit linear may get different"
)
by_base = pytest.mark.parametrize("name", BASES)
batch = CASE.batch()


@by_base
def test_update_is_zero_at_the_start_and_trains(name):
    base = BASES[name]()
    before = logits(base, batch)
    assert 0 < relative(before, logits(CASE.make(), batch)) < 3 * NOISE[name]
    model = get_peft_model(base, config_for(CASE))
    assert torch.equal(logits(model, batch), before)
    losses = train(model, batch)
    assert losses[-1] < 0.9 * losses[0]


@by_base
def test_adapter_of_the_float_base_loads(name, tmp_path):
    """No BaseMismatchError, and an output as far off as that of the base."""
    model = adapted(CASE)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(BASES[name](), tmp_path).eval()
    assert relative(logits(loaded, batch), logits(model, batch)) < 3 * NOISE[name]
    assert relative(logits(loaded, batch), logits(CASE.make(), batch)) > 0.5
    loaded.save_pretrained(tmp_path / "again")
    back = PeftModel.from_pretrained(CASE.make(), tmp_path / "again")
    assert all(torch.equal(v, coefficients(model)[k]) for k, v in coefficients(back).items())


@ignore_rounding
@by_base
def test_merge_and_unmerge(name):
    """Seen on one layer: the merged weight is rounded once more, and so is the unmerged one."""
    model = get_peft_model(BASES[name](), config_for(CASE))
    randomize(model)
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        base, expected = layer.base_layer(x), layer(x)
        assert relative(expected, base) > 1
        model.merge_adapter()
        merged = layer(x)
        assert layer.merged and type(layer.base_layer) is type(BASES[name]().model.layers[0].self_attn.q_proj)
        assert relative(merged, expected) < NOISE[name] and relative(layer.base_layer(x), merged) == 0
        model.unmerge_adapter()
        assert not layer.merged and relative(layer(x), expected) < 2 * NOISE[name]


@ignore_rounding
@by_base
def test_merge_and_unload(name):
    model = get_peft_model(BASES[name](), config_for(CASE))
    randomize(model)
    layer, x = model.base_model.model.model.layers[0].self_attn.q_proj, torch.eye(64)
    with torch.no_grad():
        expected = layer(x)
        merged = model.merge_and_unload()
        assert not coefficients(merged) and type(merged) is LlamaForCausalLM
        assert relative(merged.model.layers[0].self_attn.q_proj(x), expected) < NOISE[name]
