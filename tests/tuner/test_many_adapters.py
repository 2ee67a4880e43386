"""Several adapters on one base: choosing, disabling, deleting, mixing in a batch, adding up."""

import peft
import pytest
import torch
from peft import PeftModel

from small_models import BY_NAME, CASES
from tuner.adapting import (
    adapted,
    assert_close,
    assert_differ,
    coefficients,
    config_for,
    logits,
    randomize,
)  # fmt: skip

by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def two_adapters(case, **second):
    model = adapted(case, adapter_name="first")
    randomize(model, "first", seed=1)
    model.add_adapter("second", config_for(case, **{"seed": 8, "r": 2, "num_basis": 5, **second}))
    randomize(model, "second", seed=2)
    return model.eval()


@by_case
def test_set_disable_and_delete(case):
    model, batch = two_adapters(case), case.batch()
    base, first = logits(case.make(), batch), logits(model, batch)
    model.set_adapter("second")
    second = logits(model, batch)
    assert_differ(first, second)
    assert_differ(second, base)
    assert sorted(n for n, p in model.named_parameters() if p.requires_grad) == sorted(
        coefficients(model, "second")
    )
    with model.disable_adapter():
        assert torch.equal(logits(model, batch), base)
    assert torch.equal(logits(model, batch), second)
    model.set_adapter("first")
    assert torch.equal(logits(model, batch), first)
    model.delete_adapter("second")
    assert torch.equal(logits(model, batch), first)
    assert not coefficients(model, "second") and list(model.peft_config) == ["first"]


@by_case
def test_adapters_of_one_model_are_saved_and_loaded_apart(case, tmp_path):
    model, batch = two_adapters(case), case.batch()
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(case.make(), tmp_path / "first", adapter_name="first")
    loaded.load_adapter(tmp_path / "second", adapter_name="second")
    for name in ("first", "second"):
        model.set_adapter(name)
        loaded.set_adapter(name)
        assert torch.equal(logits(loaded.eval(), batch), logits(model, batch))


@by_case
def test_two_active_adapters_add_up(case):
    """Seen on one layer, where there is nothing between the updates and the output."""
    model = two_adapters(case)
    layer = next(m for m in model.modules() if isinstance(m, peft.tuners.lora.LoraLayer))
    expected = layer.get_delta_weight("first") + layer.get_delta_weight("second")
    before = layer.get_base_layer().weight.detach().clone()
    model.base_model.set_adapter(["first", "second"])
    model.merge_adapter()
    assert_close(layer.get_base_layer().weight - before, expected)


@by_case
def test_mixed_batch(case):
    model, batch = two_adapters(case), case.batch(6)
    expected = {"__base__": logits(case.make(), batch)}
    for name in ("first", "second"):
        model.set_adapter(name)
        expected[name] = logits(model, batch)
    names = ["first", "second", "__base__", "__base__", "second", "first"]
    mixed = logits(model, batch, adapter_names=names)
    for row, name in enumerate(names):
        assert_close(mixed[row], expected[name][row])
    assert_differ(expected["first"], expected["second"])


@by_case
def test_weighted_sum_of_adapters_is_exact_and_saved_as_lora(case, tmp_path):
    model, batch = two_adapters(case), case.batch()
    layers = [m for m in model.modules() if isinstance(m, peft.tuners.lora.LoraLayer)]
    expected = [
        0.75 * layer.get_delta_weight("first") - 1.5 * layer.get_delta_weight("second") for layer in layers
    ]
    # the sign goes into one factor: PEFT multiplies lora_A by the weight
    model.base_model.add_weighted_adapter(["first", "second"], [0.75, -1.5], "sum", combination_type="cat")
    assert type(model.peft_config["sum"]) is peft.LoraConfig and model.peft_config["sum"].r == 6
    assert model.peft_config["first"].peft_type == "NOLAKIT_NOLA"
    for layer, update in zip(layers, expected, strict=True):
        assert type(layer.lora_A["sum"]) in (torch.nn.Linear, torch.nn.Conv2d)
        assert_close(layer.get_delta_weight("sum"), update)

    model.set_adapter("sum")
    outputs = logits(model, batch)
    assert_differ(outputs, logits(case.make(), batch))
    model.save_pretrained(tmp_path, selected_adapters=["sum"])
    assert peft.PeftConfig.from_pretrained(tmp_path / "sum").peft_type == "LORA"
    loaded = PeftModel.from_pretrained(case.make(), tmp_path / "sum").eval()
    assert torch.equal(logits(loaded, batch), outputs)
    model.set_adapter("first")
    assert torch.equal(logits(model, batch), logits(two_adapters(case), batch))


def test_weighted_sum_by_svd_of_full_rank_is_exact():
    model = two_adapters(BY_NAME["llama"])
    layer = next(m for m in model.modules() if isinstance(m, peft.tuners.lora.LoraLayer))
    expected = 0.5 * layer.get_delta_weight("first") + layer.get_delta_weight("second")
    model.base_model.add_weighted_adapter(
        ["first", "second"], [0.5, 1.0], "sum", combination_type="svd", svd_rank=6
    )
    assert_close(layer.get_delta_weight("sum"), expected)
