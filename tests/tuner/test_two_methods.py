"""Adapters of two methods on one model: what PEFT 0.21 and transformers allow, and what they refuse."""

import pytest
import torch
from peft import LoraConfig, get_peft_model

from nolakit import LoraXsConfig, NolaConfig
from small_models import BY_NAME
from tuner.adapting import assert_close, assert_differ, logits, train

CASE = BY_NAME["llama"]
TARGETS = ["q_proj", "v_proj"]
CONFIGS = {
    "nola": lambda: NolaConfig(r=4, num_basis=6, target_modules=TARGETS),
    "lora_xs": lambda: LoraXsConfig(r=4, target_modules=TARGETS),
    "lora": lambda: LoraConfig(r=2, target_modules=TARGETS),
}
PAIRS = [("nola", "lora_xs"), ("lora_xs", "nola"), ("nola", "lora"), ("lora", "lora_xs")]


@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
@pytest.mark.filterwarnings("ignore:Already found a `peft_config` attribute")
def test_transformers_adds_a_second_method(pair, tmp_path):
    """Both are trained together, chosen one by one, and saved one by one."""
    model, batch = CASE.make(), CASE.batch()
    for name in pair:
        model.add_adapter(CONFIGS[name](), adapter_name=name)
    model.set_adapter(list(pair))
    losses = train(model, batch)
    assert losses[-1] < losses[0]
    both = logits(model.eval(), batch)
    alone = {}
    for name in pair:
        model.set_adapter(name)
        alone[name] = logits(model, batch)
        assert_differ(alone[name], both)
        model.save_pretrained(tmp_path / name)
        again = CASE.make()
        again.load_adapter(str(tmp_path / name))
        assert torch.equal(logits(again, batch), alone[name])
    again.load_adapter(str(tmp_path / pair[0]), adapter_name="first")
    again.set_adapter(["default", "first"])
    assert_close(logits(again, batch), both)


@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_peft_s_own_model_takes_no_second_method(pair):
    first, second = (CONFIGS[name]() for name in pair)
    model = get_peft_model(CASE.make(), first)
    with pytest.raises(ValueError, match="Cannot combine adapters with different peft types"):
        model.add_adapter("second", second)


def test_peft_s_mixed_model_has_a_closed_list():
    with pytest.raises(ValueError, match="not compatible with the `PeftMixedModel`"):
        get_peft_model(CASE.make(), CONFIGS["nola"](), mixed=True)
