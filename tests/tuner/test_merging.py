"""Merging folds the update into the base, exactly once, and takes it out again."""

import pytest
import torch

from small_models import CASES
from tuner.adapting import adapted, assert_close, assert_differ, coefficients, logits

by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def base_weights(model):
    return {n: p.detach().clone() for n, p in model.named_parameters() if not n.endswith(".coefficients")}


@by_case
@pytest.mark.parametrize("safe_merge", [False, True])
def test_merge_and_unmerge(case, safe_merge):
    model, batch = adapted(case), case.batch()
    expected, weights = logits(model, batch), base_weights(model)
    assert_differ(expected, logits(case.make(), batch))
    model.merge_adapter(safe_merge=safe_merge)
    assert_close(logits(model, batch), expected)
    changed = [n for n, p in base_weights(model).items() if not torch.equal(p, weights[n])]
    assert len(changed) == len(coefficients(model)) / 2
    model.unmerge_adapter()
    assert_close(logits(model, batch), expected)
    assert_close(base_weights(model), weights)


@by_case
@pytest.mark.parametrize("safe_merge", [False, True])
def test_merge_and_unload_leaves_a_plain_model(case, safe_merge):
    model, batch = adapted(case), case.batch()
    expected = logits(model, batch)
    merged = model.merge_and_unload(safe_merge=safe_merge)
    original = case.make()
    assert type(merged) is type(original)
    assert sorted(merged.state_dict()) == sorted(original.state_dict())
    assert_close(logits(merged, batch), expected)


@by_case
def test_unload_gives_the_base_back(case):
    model, batch = adapted(case), case.batch()
    base = model.unload()
    assert torch.equal(logits(base, batch), logits(case.make(), batch))


@by_case
@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_safe_merge_of_a_broken_adapter_leaves_weights_as_they_were(case, broken):
    model = adapted(case)
    weights = base_weights(model)
    for values in coefficients(model).values():
        values[3] = broken
    with pytest.raises(ValueError, match="NaNs detected"):
        model.merge_adapter(safe_merge=True)
    after = base_weights(model)
    assert all(torch.equal(after[name], weight) for name, weight in weights.items())
    assert not any(getattr(module, "merged", False) for module in model.modules())
