"""RandLoRA against PEFT's, on PEFT's frozen numbers.

PEFT shares the columns of the B_j out in another order than the formula says, and multiplies by lora_alpha / r alone.
Both are given to it here; nothing else differs.
"""

import copy
import math

import pytest
import torch
from peft import RandLoraConfig as PeftRandLoraConfig
from peft import get_peft_model
from torch import nn

from nolakit import RandLoraConfig
from nolakit.methods.randlora import RandLora
from tuner.adapting import TOLERANCE

SHAPES = {"0": (12, 20), "1": (30, 12), "2": (30, 30)}  # (out, in): wide, tall, square
RANK, ALPHA = 4, 12.0
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture
def base():
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return nn.Sequential(*(nn.Linear(inputs, outputs) for outputs, inputs in SHAPES.values()))


@pytest.fixture
def peft(base):
    config = PeftRandLoraConfig(r=RANK, randlora_alpha=ALPHA, target_modules=list(SHAPES))
    model = get_peft_model(copy.deepcopy(base), config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lambda" in name or "gamma" in name:
                value.add_(torch.randn(value.shape, generator=generator) / 5)
    return model.base_model.model


def as_the_formula_has_it(b: torch.Tensor, count: int) -> torch.Tensor:
    """PEFT's B, whose column i of B_j is the one numbered i N + j of all. # shape: (D, N, r) -> (D, N r)"""
    columns = b[:, :count].flatten(1)
    order = torch.arange(count * RANK).view(RANK, count).T.flatten()
    return columns[:, order]


@pytest.fixture
def ours(base, peft, monkeypatch):
    """Our model with PEFT's frozen and trained numbers, in the order of the formula."""
    a, b = peft[0].randlora_A["default"], peft[0].randlora_B["default"]

    def frozen(self, what, dims, *, like, std):
        if what == "A":
            return a[:, 0, : dims[1]] * std
        return as_the_formula_has_it(b[: dims[0]], dims[1] // RANK)

    monkeypatch.setattr(RandLora, "random", frozen)
    model = get_peft_model(base, RandLoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(SHAPES)))
    with torch.no_grad():
        for layer, theirs in zip(model.base_model.model, peft, strict=True):
            lambdas, gammas = theirs.randlora_lambda["default"], theirs.randlora_gamma["default"]
            layer.lora_A["default"].coefficients.copy_(torch.cat([lambdas.T.flatten(), gammas.flatten()]))
    return model.base_model.model


def scale(name):
    """sqrt(N), by which PEFT's update is larger."""
    return math.sqrt(-(-min(SHAPES[name]) // RANK))


@pytest.mark.parametrize("name", SHAPES)
def test_update(ours, peft, name):
    found, expected = (model[int(name)].get_delta_weight("default") for model in (ours, peft))
    torch.testing.assert_close(found * scale(name), expected, **CLOSE)


@pytest.mark.parametrize("name", SHAPES)
def test_output_and_gradient(ours, peft, name):
    layers = [model[int(name)] for model in (ours, peft)]
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(5, SHAPES[name][1], generator=generator)
    grad = torch.randn(5, SHAPES[name][0], generator=generator)
    factors = [scale(name), 1.0]
    inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    outputs = [
        factor * (layer(one) - layer.base_layer(one))
        for layer, one, factor in zip(layers, inputs, factors, strict=True)
    ]
    torch.testing.assert_close(*outputs, **TOLERANCE)
    for output in outputs:
        output.backward(grad)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, **TOLERANCE)
    lambdas, gammas = (getattr(layers[1], f"randlora_{part}")["default"] for part in ("lambda", "gamma"))
    expected = torch.cat([lambdas.grad.T.flatten(), gammas.grad.flatten()])
    torch.testing.assert_close(layers[0].lora_A["default"].coefficients.grad, expected, rtol=1e-5, atol=1e-5)


def test_the_order_of_columns_is_another(ours, peft, monkeypatch):
    """The difference is deliberate: with PEFT's columns where PEFT has them, the formula gives another update."""
    found = ours[0].get_delta_weight("default") * scale("0")
    reorder = "as_the_formula_has_it"
    monkeypatch.setitem(globals(), reorder, lambda b, count: b[:, :count].flatten(1))
    otherwise = ours[0].get_delta_weight("default") * scale("0")
    torch.testing.assert_close(found, peft[0].get_delta_weight("default"), **CLOSE)
    assert (otherwise - found).norm() > 0.5 * found.norm()
    assert 0.5 < otherwise.norm() / found.norm() < 2  # of one distribution


def test_default_scales():
    """lora_alpha is 2 r and the sum is divided by sqrt(N), as the paper's code has it; PEFT's alpha is 20 r, its sum
    is not divided: 113 times as much for a weight of 4096 inputs and outputs."""
    mine, theirs = RandLoraConfig(), PeftRandLoraConfig()
    assert (mine.r, mine.lora_alpha, theirs.r, theirs.randlora_alpha) == (32, 64, 32, 640)
    ratio = (theirs.randlora_alpha / theirs.r) / (mine.lora_alpha / mine.r / math.sqrt(4096 / 32))
    assert round(ratio) == 113
