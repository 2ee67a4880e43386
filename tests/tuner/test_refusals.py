"""What cannot hold is refused by name, with the model left as it was."""

import dataclasses

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from nolakit import NolaConfig
from nolakit.errors import ConfigError, UnsupportedError
from nolakit.tuner.config import KEPT_OPTIONS
from small_models import BY_NAME
from tuner.adapting import config_for, logits

LLAMA = BY_NAME["llama"]
REFUSED = {
    "use_dora": True,
    "lora_bias": True,
    "target_parameters": ["weight"],
    "megatron_config": {},
    "init_lora_weights": "pissa",
    "eva_config": {"rho": 2.0},
    "corda_config": {},
    "loftq_config": {"bits": 4},
    "alora_invocation_tokens": [1],
    "use_qalora": True,
    "arrow_config": {},
}


@pytest.mark.parametrize("option", REFUSED)
def test_an_option_that_cannot_hold(option):
    with pytest.raises(UnsupportedError, match=f"found {option}=.*leave it at"):
        NolaConfig(target_modules=["q_proj"], **{option: REFUSED[option]})


@pytest.mark.parametrize("value", ["gaussian", "olora", "eva", "orthogonal", "loftq", "pissa_niter_4"])
def test_every_start_of_lora_s_own(value):
    with pytest.raises(UnsupportedError, match="init_weights=False"):
        NolaConfig(init_lora_weights=value)


def test_every_option_of_lora_is_kept_or_refused():
    """Whatever PEFT adds: an option this package does not know may not leave its default."""
    for option in dataclasses.fields(LoraConfig):
        if option.name not in KEPT_OPTIONS | {"runtime_config"}:
            with pytest.raises(UnsupportedError, match=option.name):
                NolaConfig(**{option.name: "something"})


@pytest.mark.parametrize(
    "values",
    [
        {"r": 0}, {"r": 1.5}, {"num_basis": 0}, {"num_basis_a": -1}, {"num_basis_b": True}, {"seed": -1},
        {"seed": 2**64}, {"seed": 0.5}, {"rank_pattern": {"q": 0}}, {"share_basis": "yes"},
    ],
    ids=str,
)  # fmt: skip
def test_a_value_out_of_range(values):
    with pytest.raises((ConfigError, ValueError), match=r"found .*expected"):
        NolaConfig(**values)


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.embedding = nn.Embedding(10, 4)
        self.conv1d = nn.Conv1d(4, 4, 3)
        self.conv3d = nn.Conv3d(4, 4, 3)
        self.reflected = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
        self.attention = nn.MultiheadAttention(4, 2)
        self.bilinear = nn.Bilinear(4, 4, 4)


@pytest.mark.parametrize("target", ["embedding", "conv1d", "conv3d", "reflected", "attention"])
def test_a_layer_that_cannot_be_adapted_leaves_the_model_as_it_was(target):
    model = Odd()
    before = {name: type(module) for name, module in model.named_modules()}
    with pytest.raises(UnsupportedError, match=f"found a target module '{target}' of type"):
        get_peft_model(model, NolaConfig(target_modules=["fc", target]))
    assert {name: type(module) for name, module in model.named_modules()} == before
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_second_adapter_that_is_refused_leaves_the_first():
    case = BY_NAME["llama"]
    model = get_peft_model(case.make(), config_for(case, init_weights=False))
    before = logits(model, case.batch())
    with pytest.raises(UnsupportedError, match="embed_tokens"):
        model.add_adapter("second", config_for(case, target_modules=["embed_tokens", "q_proj"]))
    assert torch.equal(logits(model, case.batch()), before)
    assert list(model.peft_config) == ["default"]


def test_modules_that_share_a_path_are_refused():
    """They would share A0: `module` is a wrapper's name, and is left out of the path."""
    model = nn.ModuleDict({"fc": nn.Linear(4, 4), "module": nn.ModuleDict({"fc": nn.Linear(4, 4)})})
    with pytest.raises(UnsupportedError, match="second module with the canonical path 'fc'"):
        get_peft_model(model, NolaConfig(target_modules=["fc"]))
