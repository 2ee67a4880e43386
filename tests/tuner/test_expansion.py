"""Weights are made once for each change of the coefficients, and never out of date."""

import copy

import pytest
import torch
from peft import get_peft_model
from torch.utils.checkpoint import checkpoint

from nolakit import TiedLoraConfig
from nolakit.methods.nola import Nola
from nolakit.tuner import changes
from nolakit.tuner.factor import LinearFactor
from small_models import BY_NAME
from tuner.adapting import adapted, assert_close, coefficients, config_for, gradients, logits, randomize

CASE = BY_NAME["llama"]


@pytest.fixture(autouse=True, params=["at every use", "once a pass"])
def compared(request, monkeypatch):
    """When values are compared: as on the CPU, and as on a device that a comparison waits for."""
    if request.param == "once a pass":
        monkeypatch.setattr(changes, "COMPARED_AT_EVERY_USE", set())
    return request.param


@pytest.fixture
def made(monkeypatch):
    """How many factors were made, a list of the group sizes."""
    sizes = []
    original = Nola.factors

    def counted(self, values, shapes, *others):
        sizes.append(len(shapes))
        return original(self, values, shapes, *others)

    monkeypatch.setattr(Nola, "factors", counted)
    return sizes


def factors(model) -> list[LinearFactor]:
    return [module for module in model.modules() if isinstance(module, LinearFactor)]


def test_a_step_makes_each_group_once_whatever_it_accumulates(made):
    model = adapted(CASE).train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for step in range(1, 3):
        for _ in range(4):
            model(**CASE.batch()).loss.backward()
        optimizer.step()
        assert sum(made) == step * len(factors(model))
    assert len(made) < sum(made)


def test_accumulated_gradients_are_sums(made):
    model, batch = adapted(CASE), CASE.batch()
    model(**batch).loss.backward()
    once = gradients(model)
    model.zero_grad()
    for _ in range(3):
        model(**batch).loss.backward()
    for name, gradient in gradients(model).items():
        assert_close(gradient, 3 * once[name])


@pytest.mark.parametrize("change", ["in place", "data", "copied data", "new parameter", "state dict"])
def test_every_change_is_seen(change):
    model, batch = adapted(CASE), CASE.batch()
    logits(model, batch)
    model(**batch).loss.backward()
    other = {name: torch.randn_like(value) for name, value in coefficients(model).items()}
    for name, parameter in list(model.named_parameters()):
        if name in other:
            if change == "in place":
                with torch.no_grad():
                    parameter.copy_(other[name])
            elif change == "data":
                parameter.data = other[name].clone()
            elif change == "copied data":
                parameter.data.copy_(other[name])
            elif change == "new parameter":
                owner = model.get_submodule(name.rpartition(".")[0])
                owner.coefficients = torch.nn.Parameter(other[name].clone())
    if change == "state dict":
        model.load_state_dict(other, strict=False)
    fresh = adapted(CASE)
    fresh.load_state_dict(other, strict=False)
    assert torch.equal(logits(model, batch), logits(fresh, batch))
    model.zero_grad()
    for each in (model, fresh):
        each(**batch).loss.backward()
    assert_close(gradients(model), gradients(fresh))


def test_one_changed_layer_leaves_no_other_out_of_date():
    model = adapted(CASE)
    before = [factor.weight.clone() for factor in factors(model)]
    changed = factors(model)[2]
    changed.coefficients.data.mul_(-2)
    for factor, old in zip(factors(model), before, strict=True):
        assert torch.equal(factor.weight, factor.expansion.compute(factor))
        assert torch.equal(factor.weight, old) is (factor is not changed)


def test_modes_do_not_share_weights():
    model, batch = adapted(CASE), CASE.batch()
    with torch.inference_mode():
        model(**batch)
    model(**batch).loss.backward()
    expected = gradients(model)
    model.zero_grad()
    logits(model, batch)
    model(**batch).loss.backward()
    assert_close(gradients(model), expected)
    assert not torch.is_inference(factors(model)[0].weight)


def test_copies_are_their_own():
    model, batch = adapted(CASE), CASE.batch()
    model(**batch).loss.backward()
    twin = copy.deepcopy(model)
    randomize(twin, seed=9)
    before = logits(model, batch)
    assert not torch.equal(logits(twin, batch), before)
    assert torch.equal(logits(model, batch), before)
    assert all(member in factors(twin) for factor in factors(twin) for member in factor.expansion.factors)


def test_groups_stay_within_one_adapter(made):
    model = get_peft_model(CASE.make(), config_for(CASE))
    model.add_adapter("other", config_for(CASE))
    for factor in factors(model):
        names = {name for name, module in model.named_modules() if module in factor.expansion.factors}
        assert len({name.rpartition(".")[2] for name in names}) == 1


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_layers_make_nothing_anew_once_a_graph_is_there(made, reentrant):
    model, batch = adapted(CASE).train(), CASE.batch()
    model(**batch).loss.backward()
    expected, groups = gradients(model), len(made)
    model.zero_grad()
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    model.enable_input_require_grads()
    model(**batch).loss.backward()
    assert_close(gradients(model), expected)
    assert len(made) <= groups * (3 if reentrant else 1)  # reentrant: once without a graph, once with


def test_a_checkpoint_around_one_factor():
    factor = factors(adapted(CASE))[0]
    x = torch.randn(3, factor.in_features, requires_grad=True)
    factor(x).square().sum().backward()
    expected, factor.coefficients.grad = factor.coefficients.grad, None
    checkpoint(factor, x, use_reentrant=False).square().sum().backward()
    assert_close(factor.coefficients.grad, expected)


def test_a_pass_compares_once(compared, monkeypatch):
    model, batch = adapted(CASE), CASE.batch()
    compare, found = changes.Changes._compare, []
    monkeypatch.setattr(
        changes.Changes, "_compare", lambda self, made: (found.append(len(made)), compare(self, made))
    )
    for _ in range(3):
        model(**batch).loss.backward()
    assert found == (
        [] if compared == "at every use" else [len({id(f.expansion) for f in factors(model)})] * 2
    )


@pytest.mark.parametrize("first", [0, 1, 3])
def test_a_pass_may_begin_anywhere(first):
    members = factors(adapted(CASE))
    order = members[first:] + members[:first]
    for round_ in range(4):
        for factor in order:
            assert torch.equal(factor.weight, factor.expansion.compute(factor))
        members[round_].coefficients.data.mul_(-2)


def test_a_part_of_the_layers_sees_changes_too():
    members = factors(adapted(CASE))
    for factor in members:
        assert factor.weight is not None
    for part in (members[2:], members[1:], members[:2], members[:1]):
        for factor in members:
            factor.coefficients.data.add_(1)
        for factor in part:
            assert torch.equal(factor.weight, factor.expansion.compute(factor))


def test_a_weight_outlives_a_write_that_changes_nothing():
    """An optimizer writes to numbers whose gradient is zero; a weight that is a view of them is no view of the
    parameter."""
    model = get_peft_model(CASE.make(), TiedLoraConfig(r=4, target_modules=list(CASE.targets), train_u=False))
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(3):  # lora_B starts at zero, so the first step leaves lora_A as it is
        loss = model(**CASE.batch()).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.isfinite()
