"""Pouring one adapter's coefficients into another's modules, compiled or not."""

import pytest
import torch
from peft.utils.hotswap import hotswap_adapter, prepare_model_for_compiled_hotswap

from small_models import BY_NAME, CASES
from tuner.adapting import adapted, assert_close, assert_differ, config_for, logits, randomize

by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def saved(case, folder, **changes):
    """Save another adapter; returns its outputs."""
    model = adapted(case, **changes)
    randomize(model, seed=11)
    model.save_pretrained(folder)
    return logits(model, case.batch())


@by_case
def test_hotswap(case, tmp_path):
    expected = saved(case, tmp_path, lora_alpha=5)
    model, batch = adapted(case), case.batch()
    before = logits(model, batch)
    hotswap_adapter(model, tmp_path, adapter_name="default")
    assert torch.equal(logits(model, batch), expected)
    assert_differ(expected, before)


def test_hotswap_of_an_adapter_with_fewer_targets_clears_the_others(tmp_path):
    case = BY_NAME["llama"]
    expected = saved(case, tmp_path, target_modules=["v_proj"])
    model = adapted(case)
    hotswap_adapter(model, tmp_path, adapter_name="default")
    assert torch.equal(logits(model, case.batch()), expected)


@pytest.mark.parametrize("pattern", [{"rank_pattern": {"q_proj": 2}}, {"alpha_pattern": {"v_proj": 3}}])
def test_hotswap_keeps_the_scaling_of_each_layer(pattern, tmp_path):
    case = BY_NAME["llama"]
    expected = saved(case, tmp_path, **pattern)
    model = adapted(case, **pattern)
    hotswap_adapter(model, tmp_path, adapter_name="default")
    assert torch.equal(logits(model, case.batch()), expected)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8}, {"r": 2}, {"num_basis": 23}, {"num_basis_a": 23}, {"num_basis_b": 23},
        {"share_basis": False}, {"rank_pattern": {"q_proj": 2}}, {"use_rslora": True},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_incompatible_adapters_are_refused(change, tmp_path):
    case = BY_NAME["llama"]
    saved(case, tmp_path, **change)
    model, batch = adapted(case), case.batch()
    before = logits(model, batch)
    with pytest.raises(ValueError, match=f"Configs are incompatible: for {next(iter(change))}"):
        hotswap_adapter(model, tmp_path, adapter_name="default")
    assert torch.equal(logits(model, batch), before)


def test_compiled_model_is_swapped_without_compiling_again(tmp_path):
    case = BY_NAME["llama"]
    expected = saved(case, tmp_path, lora_alpha=5)
    model, batch = adapted(case), case.batch()
    before = logits(model, batch)
    prepare_model_for_compiled_hotswap(model, target_rank=4, config=config_for(case))
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    assert_close(logits(compiled, batch), before)
    hotswap_adapter(compiled, tmp_path, adapter_name="default")
    assert_close(logits(compiled, batch), expected)
    assert_differ(expected, before)
    assert len(graphs) == 1
