"""Adapters of one total of trained numbers, and any method over a basis: trained, saved, packed, expanded, swapped."""

import json

import pytest
import torch
from peft import PeftModel, get_peft_model
from peft.utils.hotswap import hotswap_adapter

import nolakit
from nolakit import LoraXsConfig, NolaConfig, VeraConfig
from nolakit.errors import AdapterError, ConfigError, DataError, UnsupportedError
from nolakit.methods.site import Factor
from nolakit.tuner.model import ComputedLoraModel
from small_models import BY_NAME
from tuner.adapting import assert_close, assert_differ, coefficients, logits, randomize, train

by_case = pytest.mark.parametrize(
    "case", [BY_NAME[name] for name in ("llama", "gpt2", "plain")], ids=lambda case: case.name
)
CONFIGS = {
    "nola": (NolaConfig, {"budget": 151, "r": 4, "seed": 3}),
    "nola, a basis each": (NolaConfig, {"budget": 151, "r": 4, "share_basis": False}),
    "nola, equal": (NolaConfig, {"budget": 151, "r": 4, "budget_by": "equal"}),
    "nola, 4 bits": (NolaConfig, {"budget": 151, "r": 4, "coefficient_bits": 4}),
    "lora_xs": (LoraXsConfig, {"budget": 29, "r": 4, "seed": 3}),
    "lora_xs of a basis": (LoraXsConfig, {"coefficient_basis": 7, "r": 4}),
    "vera": (VeraConfig, {"budget": 41, "r": 8}),
    "vera of a basis": (VeraConfig, {"coefficient_basis": 7, "r": 8}),
    "nola of a basis": (NolaConfig, {"coefficient_basis": 7, "num_basis": 20, "r": 4}),
}
by_config = pytest.mark.parametrize("name", CONFIGS)


def config(name, case, **changes):
    made, options = CONFIGS[name]
    task = case.task_type if case.task_type != "SEQ_CLS" else None
    return made(
        **{"target_modules": list(case.targets), "task_type": task, **case.options, **options, **changes}
    )


def weights_of(case):
    bases = dict(case.make().named_modules())
    prefix = getattr(case.make(), "base_model_prefix", "")

    def weight_at(path):
        layer = bases.get(path) or bases[f"{prefix}.{path}"]
        weight = layer.weight.detach()
        return weight.T if type(layer).__name__ == "Conv1D" else weight.flatten(1)

    return weight_at


@by_case
@by_config
def test_trained_saved_packed_and_expanded(name, case, tmp_path):
    options = CONFIGS[name][1]
    batch = case.batch()
    model = get_peft_model(case.make(), config(name, case))
    assert torch.equal(logits(model.eval(), batch), logits(case.make(), batch))
    trained = sum(map(torch.numel, coefficients(model).values()))
    assert trained == options["budget"] if "budget" in options else trained > 0
    losses = train(model.train(), batch, steps=8, lr=0.05)
    assert losses[-1] < losses[0]
    expected = logits(model.eval(), batch)
    model.save_pretrained(tmp_path / "a")
    assert torch.equal(logits(PeftModel.from_pretrained(case.make(), tmp_path / "a").eval(), batch), expected)
    assert nolakit.inspect(tmp_path / "a").trained == trained
    packed = nolakit.write_packed(tmp_path / "a", tmp_path / "a.safetensors")
    assert torch.equal(logits(nolakit.load(case.make(), packed).eval(), batch), expected)
    assert nolakit.inspect(packed).trained == trained
    factors = nolakit.expand(packed, weight_at=weights_of(case))
    prefix = len("base_model.model.")
    for key, factor in factors.items():
        layer = model.base_model.model.get_submodule(key[prefix:].rpartition(".lora_")[0])
        role = key.rpartition(".weight")[0].rpartition(".")[2]
        assert_close(getattr(layer, role)["default"].weight.detach(), factor)


@pytest.mark.parametrize("name", ["nola", "nola, a basis each"])
@pytest.mark.parametrize("bits", [8, 4])
def test_integers_expand_exactly_with_a_budget_too(name, bits, tmp_path):
    """To the bits that the same counts give without one."""
    case = BY_NAME["llama"]
    model = get_peft_model(case.make(), config(name, case))
    randomize(model)
    model.save_pretrained(tmp_path / "a")
    packed = nolakit.read_packed(nolakit.pack(tmp_path / "a", bits))
    method = packed.bound_method(packed.checked_modules())
    for key, factor in nolakit.expand(packed).items():
        module = next(one for one in packed.modules() if key.startswith(one.key + "."))
        role = "lora_A" if "lora_A" in key else "lora_B"
        (exact,) = method.integer_factors(packed.coefficients([(module, role)]), [Factor(role, module.site)])
        assert torch.equal(exact, factor)


def test_the_reader_needs_no_order_of_modules(tmp_path):
    """Counts follow the paths, so that a file whose modules come in another order is the same adapter."""
    case = BY_NAME["llama"]
    model = get_peft_model(case.make(), config("nola", case))
    model.save_pretrained(tmp_path)
    path = tmp_path / "adapter_config.json"
    stored = json.loads(path.read_text())
    assert (
        stored["budget"] == 151 and not {"budget_by", "budget_weights", "coefficient_basis"} & stored.keys()
    )
    assert [row.trained for row in nolakit.inspect(tmp_path).modules] == [
        sum(getattr(layer, role)["default"].coefficients.numel() for role in ("lora_A", "lora_B"))
        for _, layer in sorted((key, m) for key, m in model.named_modules() if hasattr(m, "get_delta_weight"))
    ]
    path.write_text(json.dumps({**stored, "budget": 150}))
    with pytest.raises(AdapterError, match="the configuration says"):
        nolakit.inspect(tmp_path)
    path.write_text(json.dumps({**stored, "budget": 3}))
    with pytest.raises(AdapterError, match="budget=3"):
        nolakit.inspect(tmp_path)


def test_without_a_budget_nothing_of_it_is_stored():
    stored = NolaConfig(num_basis=4).to_dict()
    assert not {"budget", "budget_by", "budget_weights", "coefficient_basis"} & stored.keys()
    assert (
        "seed" not in LoraXsConfig().to_dict()
        and LoraXsConfig(coefficient_basis=3, seed=2).to_dict()["seed"] == 2
    )


def test_the_seed_of_a_basis_counts():
    case = BY_NAME["llama"]
    models = [get_peft_model(case.make(), config("lora_xs", case, seed=seed)) for seed in (3, 4)]
    for model in models:
        randomize(model)
    assert_differ(*(logits(model.eval(), case.batch()) for model in models))
    with pytest.raises(ConfigError, match="nothing random"):
        LoraXsConfig(seed=3)


def test_hotswap_of_equal_budgets_alone(tmp_path):
    case = BY_NAME["llama"]
    other = get_peft_model(case.make(), config("nola", case))
    randomize(other, seed=11)
    other.save_pretrained(tmp_path / "equal")
    model = get_peft_model(case.make(), config("nola", case))
    hotswap_adapter(model, tmp_path / "equal", adapter_name="default")
    assert torch.equal(logits(model.eval(), case.batch()), logits(other.eval(), case.batch()))
    for folder, changes in {"more": {"budget": 200}, "by": {"budget_by": "equal"}}.items():
        get_peft_model(case.make(), config("nola", case, **changes)).save_pretrained(tmp_path / folder)
        with pytest.raises(ValueError, match="budget"):
            hotswap_adapter(model, tmp_path / folder, adapter_name="default")


def test_numbers_go_where_the_gradient_is():
    case = BY_NAME["llama"]
    batches = [case.batch(4, seed=seed) for seed in range(2)]
    base = case.make().train()
    before = [parameter.detach().clone() for parameter in base.parameters()]
    energies = nolakit.gradient_energy(base, batches, case.targets)
    assert base.training and all(parameter.grad is None for parameter in base.parameters())
    assert all(torch.equal(*pair) for pair in zip(before, base.parameters(), strict=True))
    model = get_peft_model(case.make(), config("nola", case, budget_weights=energies))
    assert isinstance(model.base_model, ComputedLoraModel)
    counts = {row: 0 for row in energies}
    for name, value in coefficients(model).items():
        counts[name.partition("model.model.model.")[2].partition(".lora_")[0]] += value.numel()
    assert sum(counts.values()) == 151
    assert sorted(counts, key=counts.__getitem__)[-1] == max(energies, key=energies.__getitem__)


@pytest.mark.parametrize(
    "name, targets",
    [("llama", "all-linear"), ("gpt2", ["c_attn", "c_fc"]), ("plain", ["conv", "grouped", "fc1"])],
)
def test_energy_is_the_squared_norm_of_the_gradient(name, targets):
    case = BY_NAME[name]
    batches = [case.batch(4, seed=seed) for seed in range(3)]
    base = case.make()
    found = nolakit.gradient_energy(base, batches, targets)
    expected = dict.fromkeys(found, 0.0)
    for batch in batches:
        base.zero_grad()
        base(**batch).loss.backward()
        for path in expected:
            prefix = getattr(base, "base_model_prefix", "")
            layer = (
                base.get_submodule(path)
                if path in dict(base.named_modules())
                else base.get_submodule(f"{prefix}.{path}")
            )
            expected[path] += layer.weight.grad.double().square().sum().item() / len(batches)
    assert found == pytest.approx(expected, rel=1e-4)
    assert list(found) == sorted(found)
    with torch.no_grad():
        assert nolakit.gradient_energy(base, batches, targets) == pytest.approx(found, rel=1e-5)


def test_models_whose_energy_cannot_be_measured():
    case = BY_NAME["llama"]
    with pytest.raises(UnsupportedError, match="before get_peft_model"):
        nolakit.gradient_energy(get_peft_model(case.make(), config("nola", case)), [case.batch()])
    with pytest.raises(DataError, match="no gradient"):
        nolakit.gradient_energy(case.make(), [])
