"""transformers' own adapter methods: add_adapter, load_adapter, enable and disable, save."""

import pytest
import torch
from peft import PeftModel

from small_models import CASES
from tuner.adapting import assert_differ, coefficients, config_for, logits, randomize, train

CASES = [case for case in CASES if case.name != "plain"]  # the methods are those of PreTrainedModel
by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def with_adapter(case):
    model = case.make()
    model.add_adapter(config_for(case), adapter_name="default")
    randomize(model)
    return model.eval()


@by_case
def test_add_train_save_and_load_adapter(case, tmp_path):
    model, batch = case.make(), case.batch()
    before = logits(model, batch)
    model.add_adapter(config_for(case), adapter_name="default")
    assert torch.equal(logits(model, batch), before)
    trained = [name for name, value in model.named_parameters() if value.requires_grad]
    assert sorted(trained) == sorted(coefficients(model))
    losses = train(model, batch)
    assert losses[-1] < losses[0]

    expected = logits(model, batch)
    model.save_pretrained(tmp_path)
    loaded = case.make()
    loaded.load_adapter(str(tmp_path), adapter_name="second")
    assert torch.equal(logits(loaded, batch), expected)


@by_case
def test_disable_and_enable_adapters(case):
    model, batch = with_adapter(case), case.batch()
    expected, base = logits(model, batch), logits(case.make(), batch)
    model.disable_adapters()
    assert torch.equal(logits(model, batch), base)
    model.enable_adapters()
    assert torch.equal(logits(model, batch), expected)
    assert_differ(expected, base)


@by_case
def test_same_weights_through_add_adapter_and_get_peft_model(case, tmp_path):
    model, batch = with_adapter(case), case.batch()
    model.save_pretrained(tmp_path)
    wrapped = PeftModel.from_pretrained(case.make(), tmp_path).eval()
    assert torch.equal(logits(wrapped, batch), logits(model, batch))
    wrapped.save_pretrained(tmp_path / "again")
    loaded = case.make()
    loaded.load_adapter(str(tmp_path / "again"))
    assert torch.equal(logits(loaded, batch), logits(model, batch))


@by_case
@pytest.mark.filterwarnings("ignore:Already found a `peft_config` attribute")
def test_two_adapters_and_the_choice_between_them(case):
    model, batch = with_adapter(case), case.batch()
    first = logits(model, batch)
    model.add_adapter(config_for(case, seed=8, r=2), adapter_name="second")
    randomize(model, "second")
    model.set_adapter("second")
    second = logits(model, batch)
    assert_differ(first, second)
    model.set_adapter("default")
    assert torch.equal(logits(model, batch), first)
    model.delete_adapter("second")
    assert torch.equal(logits(model, batch), first) and not coefficients(model, "second")
