"""Ranks by energy: known without the base once they are chosen, and exact where names are alike."""

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import nn

import nolakit
from nolakit import BasisConvConfig
from nolakit.errors import ConfigError, TargetError
from nolakit.tuner.layers import computed_layers

TARGETS = ["conv1", "conv2", "fc"]


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x):
        return x + self.conv2(torch.relu(self.conv1(x)))


class Residual(nn.Module):
    """Named as residual networks are: `conv1` is also the end of `layer1.0.conv1`."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3)
        self.layer1 = nn.Sequential(Block(8), Block(8))
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.layer1(self.conv1(x)).mean((2, 3)))


def base():
    """Each weight of singular values 1, 2^-1/2, ...: at a rate of its own."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = Residual()
    for place, module in enumerate(model.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear):
            u, _, vh = torch.linalg.svd(module.weight.detach().flatten(1), full_matrices=False)
            s = torch.arange(1, len(vh) + 1) ** -(0.2 + 0.15 * place)
            module.weight.data = (u * s @ vh).reshape(module.weight.shape)
    return model


def expected(energy):
    found = {}
    for name, module in base().named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            held = torch.linalg.svdvals(module.weight.detach().flatten(1).double()).square().cumsum(0)
            found[name] = int((held < energy * held[-1]).sum()) + 1
    return found


@pytest.mark.parametrize("energy", [0.63, 0.8, 0.95])
def test_each_layer_has_the_rank_of_its_energy(energy, tmp_path):
    options = nolakit.energy_ranks(base(), TARGETS, energy)
    model = get_peft_model(base(), BasisConvConfig(**options))
    ranks = {
        name: factors["lora_A"].shape.site.rank for name, _, factors in computed_layers(model, "default")
    }
    assert {name.removeprefix("base_model.model."): rank for name, rank in ranks.items()} == expected(energy)
    assert len(set(ranks.values())) > 2
    assert {layer.scaling["default"] for _, layer, _ in computed_layers(model, "default")} == {1.0}
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.parameters():
            if value.requires_grad:
                value.copy_(torch.randn(value.shape, generator=generator))
    images = torch.randn(2, 3, 7, 7, generator=generator)
    model.save_pretrained(tmp_path / "adapter")
    again = PeftModel.from_pretrained(base(), tmp_path / "adapter")
    assert torch.equal(again(images), model(images))
    weights = {
        name: module.weight.flatten(1) for name, module in base().named_modules() if hasattr(module, "weight")
    }
    factors = nolakit.expand(tmp_path / "adapter", weight_at=weights.get)
    for name, layer, _ in computed_layers(model, "default"):
        a, b = (factors[f"{name}.{role}.weight"].flatten(1) for role in ("lora_A", "lora_B"))
        torch.testing.assert_close(b @ a, layer.get_delta_weight("default").flatten(1), rtol=1e-4, atol=1e-5)


def test_all_energy_is_all_singular_vectors():
    options = nolakit.energy_ranks(base(), "fc", 1.0)
    assert (options["r"], options["rank_pattern"]) == (5, {})


def test_what_has_no_ranks_is_refused():
    with pytest.raises(ConfigError, match="energy=0"):
        nolakit.energy_ranks(base(), TARGETS, 0)
    with pytest.raises(TargetError, match="relu"):
        nolakit.energy_ranks(base(), ["relu"])
