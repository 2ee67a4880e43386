"""Which frozen numbers a layer gets: named by the specification, never by the process or by chance."""

import hashlib

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import nn

from nolakit import NolaConfig, basis
from small_models import BY_NAME, CASES
from tuner.adapting import adapted, assert_differ, coefficients, config_for, randomize

GOLDEN = {  # first 8 bytes of SHA-256, little-endian
    ("lora_A", None): 0x6CEF95A294790711,
    ("lora_B", None): 0x56269104F2D51C82,
    ("lora_A0", None): 0xC4A0C80BC5D9B8A7,
    ("lora_A", "layers.0.self_attn.q_proj"): 0x7BB7D2C8B3187290,
    ("lora_B", "layers.0.self_attn.q_proj"): 0x34D8E4525F37D761,
    ("lora_A0", "layers.0.self_attn.q_proj"): 0x46E64FB4C4D3EEFD,
    ("lora_A0", "encoder.layer.11.attention.self.query"): 0x58A66CF9C2295238,
}
LLAMA = BY_NAME["llama"]
by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.mark.parametrize("name", GOLDEN, ids=str)
def test_golden_stream_numbers(name):
    assert basis.stream_number(*name) == GOLDEN[name]


@pytest.mark.parametrize("role, path", GOLDEN)
def test_stream_numbers_are_what_the_specification_says(role, path):
    digest = hashlib.sha256((role if path is None else role + "/" + path).encode("utf-8")).digest()
    assert basis.stream_number(role, path) == sum(byte << 8 * i for i, byte in enumerate(digest[:8]))


def factors(model, role):
    return {n: m for n, m in model.named_modules() if n.endswith(f"{role}.default")}


def alone(factor, index):
    """The factor with one coefficient at 1 and the others at 0."""
    with torch.no_grad():
        factor.coefficients.zero_()[index] = 1
        return factor.weight.clone()


def offset(factor):
    with torch.no_grad():
        factor.coefficients.zero_()
        return factor.weight.clone()


@by_case
@pytest.mark.parametrize("share_basis", [True, False])
def test_a0_is_each_layer_s_own(case, share_basis):
    model = get_peft_model(case.make(), config_for(case, share_basis=share_basis))
    seen = {
        name: offset(factor) * factor.in_features**0.5 for name, factor in factors(model, "lora_A").items()
    }
    assert_all_differ(seen)


@by_case
@pytest.mark.parametrize("role", ["lora_A", "lora_B"])
def test_basis_is_shared_or_each_layer_s_own(case, role):
    shared, own = (
        {
            name: alone(factor, 2).flatten() - offset(factor).flatten()
            for name, factor in factors(get_peft_model(case.make(), config), role).items()
        }
        for config in (config_for(case), config_for(case, share_basis=False))
    )
    size = min(len(entries) for entries in shared.values())
    first = next(iter(shared.values()))[:size]
    for entries in shared.values():
        torch.testing.assert_close(entries[:size], first, rtol=0, atol=1e-6)  # A0 was added and taken off
    assert_all_differ(own)


def assert_all_differ(seen):
    assert len(seen) > 1
    size = min(value.numel() for value in seen.values())
    stack = torch.stack([value.flatten()[:size] for value in seen.values()])
    correlation = torch.corrcoef(stack) - torch.eye(len(stack))
    assert correlation.abs().max() < 0.5


def test_lora_a_and_lora_b_have_bases_of_their_own():
    model = get_peft_model(LLAMA.make(), config_for(LLAMA))
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    a = alone(layer.lora_A["default"], 0) - offset(layer.lora_A["default"])
    b = alone(layer.lora_B["default"], 0)
    assert_differ(a.flatten(), b.flatten())


@by_case
def test_seed_chooses_everything(case):
    first, same, other = (
        {n: m.weight.detach() for n, m in factors(adapted(case, seed=seed), "lora_A").items()}
        for seed in (1, 1, 2**64 - 1)
    )
    for name in first:
        assert torch.equal(first[name], same[name])
        assert_differ(first[name], other[name])


def test_order_and_company_of_modules_do_not_matter():
    """The same module gets the same numbers alone, among others, and in another order."""
    names = ["first", "second", "third"]

    def weights(order, targets):
        model = nn.ModuleDict({name: nn.Linear(6, 5) for name in order})
        peft_model = get_peft_model(
            model, NolaConfig(r=3, num_basis=4, target_modules=targets, share_basis=False)
        )
        randomize(peft_model)
        with torch.no_grad():
            for values in coefficients(peft_model).values():
                values.copy_(torch.arange(4.0))
        return {
            n: m.weight.detach()
            for role in ("lora_A", "lora_B")
            for n, m in factors(peft_model, role).items()
        }

    everything = weights(names, names)
    for order, targets in ((names[::-1], names), (names, ["third"]), (names[1:], names[1:])):
        for name, weight in weights(order, targets).items():
            assert torch.equal(weight, everything[name])


def test_other_adapters_do_not_matter():
    model = get_peft_model(LLAMA.make(), config_for(LLAMA, seed=1), adapter_name="other")
    model.add_adapter("default", config_for(LLAMA))
    expected = factors(get_peft_model(LLAMA.make(), config_for(LLAMA)), "lora_A")
    for name, factor in factors(model, "lora_A").items():
        assert torch.equal(factor.weight, expected[name].weight)


class DataParallel(nn.Module):
    """Names its only child as torch's DistributedDataParallel does."""

    def __init__(self, module):
        super().__init__()
        self.module = module


@pytest.mark.parametrize("wrap", [DataParallel, lambda model: torch.compile(model, backend="eager")])
@pytest.mark.parametrize("share_basis", [True, False])
def test_a_base_that_is_wrapped_already_gives_the_same_weights(wrap, share_basis, tmp_path):
    config = config_for(LLAMA, share_basis=share_basis, task_type=None)
    plain, wrapped = get_peft_model(LLAMA.make(), config), get_peft_model(wrap(LLAMA.make()), config)
    for model in (plain, wrapped):
        randomize(model)
    for role in ("lora_A", "lora_B"):
        pairs = zip(factors(plain, role).values(), factors(wrapped, role).values(), strict=True)
        assert all(torch.equal(one.weight, other.weight) for one, other in pairs)
    wrapped.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(LLAMA.make(), tmp_path)
    assert all(
        torch.equal(one, other)
        for one, other in zip(coefficients(loaded).values(), coefficients(plain).values(), strict=True)
    )
