"""PRANC: what its frozen networks are, and a network trained from nothing."""

import copy
from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from peft import PeftModel, get_peft_model
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import nn

import nolakit
from nolakit import PrancConfig
from nolakit.errors import ConfigError, StreamingError, UnsupportedError
from nolakit.testing.adapting import coefficients, layers, updates

TARGETS = ["first", "second", "head"]


def network(seed, **parts):
    """Two convolutions with batch normalisation and a head: 6,186 numbers."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        made = {
            "first": nn.Conv2d(1, 16, 3, padding=1), "norm1": nn.BatchNorm2d(16), "relu1": nn.ReLU(),
            "second": nn.Conv2d(16, 32, 3, stride=2, padding=1), "norm2": nn.BatchNorm2d(32), "relu2": nn.ReLU(),
            "pool": nn.AdaptiveAvgPool2d(2), "flat": nn.Flatten(), "head": nn.Linear(128, 10),
        }  # fmt: skip
        return nn.Sequential(OrderedDict(made | parts))


def from_scratch(base, **options):
    options = {"num_basis": 300, "from_scratch": True, "target_modules": TARGETS, **options}
    return get_peft_model(base, PrancConfig(**options))


@pytest.fixture(scope="module")
def digits():
    """1,400 images of 8 x 8 to learn from, and 397 others."""
    found = load_digits()
    images = torch.tensor(found.images, dtype=torch.float32)[:, None] / 16
    return images, torch.tensor(found.target)


@pytest.fixture(scope="module")
def trained(digits):
    """A network of 300 numbers beside its normalisation."""
    images, labels = digits
    model = from_scratch(network(0))
    optimizer = torch.optim.Adam([one for one in model.parameters() if one.requires_grad], lr=0.02)
    generator = torch.Generator().manual_seed(0)
    for _ in range(8):
        for batch in torch.randperm(1400, generator=generator).split(100):
            loss = F.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def outputs(model, digits):
    with torch.no_grad():
        return model.eval()(digits[0][1400:])


def test_a_network_from_scratch_learns(trained, digits):
    right = outputs(trained, digits).argmax(1) == digits[1][1400:]
    assert right.float().mean() > 0.75  # one in ten by chance
    counts = {name: one.numel() for name, one in trained.named_parameters() if one.requires_grad}
    assert sum(counts.values()) == 300 + 2 * (16 + 32)


@pytest.mark.parametrize("form", ["folder", "packed file", "packed folder"])
def test_any_fresh_network_loads_it(form, trained, digits, tmp_path):
    trained.save_pretrained(tmp_path / "adapter")
    place = tmp_path / "adapter"
    if form != "folder":
        suffix = ".safetensors" if form == "packed file" else ""
        place = nolakit.write_packed(place, tmp_path / f"packed{suffix}", bits=32)
    base = network(1)
    base(torch.randn(20, 1, 8, 8))  # other running statistics
    loaded = nolakit.load(base, place)
    assert torch.equal(outputs(loaded, digits), outputs(trained, digits))
    merged = loaded.merge_and_unload()
    assert sorted(merged.state_dict()) == sorted(network(0).state_dict())
    assert torch.equal(outputs(merged, digits), outputs(trained, digits))


def test_it_starts_at_the_first_network():
    """An ordinary initial one: uniform within 1 / sqrt(fan_in), of every layer."""
    model = from_scratch(network(0))
    assert (
        coefficients(model)["base_model.model.first.lora_A.default.coefficients"].tolist() == [1] + [0] * 299
    )
    for name, layer in layers(model).items():
        weight, fan_in = updates(model)[name], layer.get_base_layer().weight[0].numel()
        assert 0.95 < weight.abs().max() * fan_in**0.5 <= 1
        assert weight.std() * fan_in**0.5 == pytest.approx(3**-0.5, rel=0.1)
        assert not layer.get_base_layer().weight.any() and not layer.get_base_layer().bias.any()


def test_biases_are_stored_where_they_are_trained(digits, tmp_path):
    model = from_scratch(network(0), bias="lora_only")
    with torch.no_grad():
        for layer in layers(model).values():
            assert not layer.bias.any()
            layer.bias.add_(torch.arange(len(layer.bias)) / 10)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(network(1), tmp_path)
    assert torch.equal(outputs(loaded, digits), outputs(model, digits))


def test_two_networks_on_one_model(digits, trained, tmp_path):
    model = copy.deepcopy(trained)
    model.add_adapter("other", PrancConfig(num_basis=9, from_scratch=True, target_modules=TARGETS, seed=5))
    expected = outputs(model, digits)
    assert torch.equal(expected, outputs(trained, digits))
    model.set_adapter("other")
    assert not torch.allclose(outputs(model, digits), expected)
    model.set_adapter("default")
    assert torch.equal(outputs(model, digits), expected)


def test_what_would_not_be_stored_is_refused_and_the_model_is_as_it_was():
    base = network(0, relu2=nn.PReLU(32), relu1=nn.Conv2d(16, 16, 1))
    before = {name: value.clone() for name, value in base.state_dict().items()}
    with pytest.raises(ConfigError, match="'weight' of 'relu1' that would not be stored"):
        from_scratch(base)
    assert all(torch.equal(value, before[name]) for name, value in base.state_dict().items())
    from_scratch(base, modules_to_save=["relu1"])
    grouped = network(0, second=nn.Conv2d(16, 32, 3, groups=2))
    weight = grouped.first.weight.clone()
    with (
        pytest.warns(UserWarning, match="groups"),
        pytest.raises(UnsupportedError, match="grouped convolution at 'second'"),
    ):
        from_scratch(grouped)
    assert torch.equal(grouped.first.weight, weight) and weight.any()


def test_other_adapters_keep_their_weights():
    lora = get_peft_model(network(0), PrancConfig(num_basis=4, target_modules=TARGETS))
    with pytest.raises(UnsupportedError, match="a model of its own"):
        lora.add_adapter("whole", PrancConfig(from_scratch=True, target_modules=TARGETS))
    assert lora.base_model.model.first.base_layer.weight.any() and list(lora.peft_config) == ["default"]


def test_names_that_peft_would_confuse_are_refused():
    base = nn.Sequential(OrderedDict({"norm": nn.BatchNorm1d(4), "postnorm": nn.Linear(4, 4)}))
    with pytest.raises(ConfigError, match="'postnorm' beside 'norm'"):
        from_scratch(base, target_modules=["postnorm"])


def test_exports_that_add_to_a_base_are_refused(trained, tmp_path):
    trained.save_pretrained(tmp_path / "adapter")
    with pytest.raises(UnsupportedError, match=r"'pranc' adapter .* replaces the weights"):
        nolakit.export_lora(tmp_path / "adapter", tmp_path / "lora", approximate_rank=2)
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    save_file(network(0).state_dict(), tmp_path / "base" / "model.safetensors")
    with pytest.raises(StreamingError, match="replaces its base's weights"):
        nolakit.export_merged(tmp_path / "adapter", tmp_path / "merged", base=tmp_path / "base")


@pytest.mark.parametrize("whole_network", [True, False])
def test_an_update_of_a_base_is_the_same_sum_for_all_modules_together_or_each(whole_network):
    """Each module's theta_j are its own, whoever holds the numbers."""
    options = {"num_basis": 5, "target_modules": TARGETS, "whole_network": whole_network}
    model = get_peft_model(network(0), PrancConfig(**options))
    numbers = torch.tensor([0.5, -1, 2, 0, 1])
    with torch.no_grad():
        for value in coefficients(model).values():
            value.copy_(numbers)
    assert len(coefficients(model)) == (1 if whole_network else 3)
    expected = {name: torch.zeros_like(update) for name, update in updates(model).items()}
    found = updates(model)
    for index, number in enumerate(numbers):
        with torch.no_grad():
            for value in coefficients(model).values():
                value.zero_()[index] = 1
        for name, theta in updates(model).items():
            expected[name] += number * theta
    for name, update in expected.items():
        torch.testing.assert_close(found[name], update)


def test_the_holder_of_the_numbers_is_the_first_by_path():
    """Not the first that a traversal meets."""
    layers_of = {"b": nn.Linear(4, 4), "a": nn.Linear(4, 4)}
    model = get_peft_model(
        nn.Sequential(OrderedDict(layers_of)), PrancConfig(num_basis=3, target_modules=["a", "b"])
    )
    assert list(coefficients(model)) == ["base_model.model.a.lora_A.default.coefficients"]
