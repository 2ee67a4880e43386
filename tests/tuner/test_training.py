"""Every base model: an update of exactly zero at the start, then training that moves only coefficients."""

import pytest
import torch
from peft import get_peft_model

from small_models import BY_NAME, CASES, Case
from tuner.adapting import adapted, assert_close, assert_differ, coefficients, config_for, logits, train

by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def adapted_layers(case: Case) -> int:
    return sum(
        name.rpartition(".")[2] in case.targets
        for name, module in case.make().named_modules()
        if not list(module.children())
    )


@by_case
def test_update_is_exactly_zero_at_the_start(case):
    base, batch = case.make(), case.batch()
    before = logits(base, batch)
    model = get_peft_model(base, config_for(case))
    assert torch.equal(logits(model, batch), before)
    for name, module in model.named_modules():
        if name.endswith("lora_B.default"):
            assert not module.weight.any(), name
        if name.endswith("lora_A.default"):
            assert module.weight.abs().min() >= 0 and module.weight.std() > 0, name


@by_case
def test_training_lowers_the_loss_and_moves_only_coefficients(case):
    model, batch = get_peft_model(case.make(), config_for(case)), case.batch()
    frozen = {name: value.clone() for name, value in model.named_parameters() if not value.requires_grad}
    losses = train(model, batch)
    assert losses[-1] < 0.9 * losses[0]
    assert all(torch.equal(model.get_parameter(name), value) for name, value in frozen.items())
    moved = coefficients(model)
    assert all(value.all() for value in moved.values())  # k and l: all of them, in every layer
    assert len(moved) == 2 * adapted_layers(case)


@by_case
def test_only_coefficients_are_trained(case):
    model = get_peft_model(case.make(), config_for(case, num_basis_a=10, num_basis_b=6))
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    assert sorted(trained) == sorted(coefficients(model))
    assert sum(value.numel() for value in trained.values()) == 16 * adapted_layers(case)
    assert model.get_nb_trainable_parameters()[0] == 16 * adapted_layers(case)


@by_case
def test_lora_a_starts_at_kaiming_uniform_and_learns_from_the_second_step(case):
    model, batch = get_peft_model(case.make(), config_for(case)), case.batch()
    for name, module in model.named_modules():
        if name.endswith("lora_A.default"):
            bound = module.weight[0].numel() ** -0.5
            assert 0.9 * bound < module.weight.abs().max() <= bound, name
    model(**batch).loss.backward()
    for name, value in model.named_parameters():
        if value.requires_grad:
            assert value.grad is not None and bool(value.grad.any()) is ("lora_B" in name), name


@by_case
def test_global_generator_is_left_alone(case):
    base, batch = case.make(), case.batch()
    before = torch.get_rng_state()
    model = get_peft_model(base, config_for(case))
    model.add_adapter("second", config_for(case, seed=8))
    model(**batch).loss.backward()
    assert torch.equal(torch.get_rng_state(), before)


@by_case
def test_init_weights_false_differs_from_the_base(case):
    base, batch = case.make(), case.batch()
    before = logits(base, batch)
    torch.manual_seed(0)
    model = get_peft_model(base, config_for(case, init_weights=False))
    first = logits(model, batch)
    assert_differ(first, before)
    torch.manual_seed(0)
    assert torch.equal(
        logits(get_peft_model(case.make(), config_for(case, init_weights=False)), batch), first
    )
    assert_differ(logits(get_peft_model(case.make(), config_for(case, init_weights=False)), batch), first)
    losses = train(model, batch)
    assert losses[-1] < losses[0]


def test_peft_s_own_name_for_random_weights_means_the_same():
    config = config_for(BY_NAME["llama"], init_lora_weights=False)
    assert config.init_weights is False and config.init_lora_weights is True


@by_case
def test_evaluation_under_inference_mode_before_training(case):
    model, batch = get_peft_model(case.make(), config_for(case)), case.batch()
    with torch.inference_mode():
        model(**batch)
    losses = train(model, batch, steps=3)
    assert losses[-1] < losses[0]


@by_case
def test_outputs_are_those_of_the_base_with_the_update_added(case, tmp_path):
    """W + scaling * B A from the saved file, without any of PEFT's layers."""
    from nolakit import expand

    model, batch = adapted(case), case.batch()
    model.save_pretrained(tmp_path)
    factors, base = expand(tmp_path), case.make()
    paths = {key.removeprefix("base_model.model.").rsplit(".", 2)[0] for key in factors}
    assert len(paths) == adapted_layers(case)
    for path in paths:
        down, up = (factors[f"base_model.model.{path}.lora_{role}.weight"] for role in "AB")
        weight = base.get_submodule(path).weight
        update = 2.0 * up.flatten(1) @ down.flatten(1)  # lora_alpha / r = 2; shape: (out, in...)
        if path.rpartition(".")[2].startswith("c_"):
            update = update.T  # GPT-2's Conv1D holds (in, out)
        weight.data += update.reshape(weight.shape)
    assert_close(logits(model, batch), logits(base, batch))
