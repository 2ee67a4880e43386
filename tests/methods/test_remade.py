"""A product whose matrix is made again: the same numbers and gradients, and nothing of the matrix kept."""

import pytest
import torch
import torch.nn.functional as F
from peft import get_peft_model
from torch import nn

from nolakit import RandLoraConfig
from nolakit.methods.remade import remade_linear

X_AND_NUMBERS = [(False, False), (False, True), (True, False), (True, True)]


def outer(left, right):
    return left[:, None] * right.sin()[None]


@pytest.mark.parametrize("x_trains, numbers_train", X_AND_NUMBERS)
def test_values_and_gradients(x_trains, numbers_train):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64, requires_grad=x_trains)
    left = torch.randn(4, generator=generator, dtype=torch.float64, requires_grad=numbers_train)
    right = torch.randn(5, generator=generator, dtype=torch.float64)
    found = remade_linear(x, outer, left, right)
    assert torch.equal(found, F.linear(x, outer(left, right)))
    assert found.requires_grad == (x_trains or numbers_train)
    if found.requires_grad:
        inputs = [one for one in (x, left) if one.requires_grad]
        assert torch.autograd.gradcheck(lambda *_: remade_linear(x, outer, left, right), inputs)


def test_a_frozen_matrix_needs_no_input_kept():
    x, saved = torch.randn(6, 5, requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda one: one):
        y = remade_linear(x, lambda: torch.ones(4, 5))
    assert not saved
    y.sum().backward()
    assert torch.equal(x.grad, torch.full((6, 5), 4.0))


@pytest.mark.parametrize("outputs, inputs", [(64, 48), (48, 64)])
def test_randlora_keeps_no_matrix_for_the_backward_pass(outputs, inputs):
    model = get_peft_model(
        nn.Sequential(nn.Linear(inputs, outputs)), RandLoraConfig(r=4, target_modules=["0"])
    )
    x, layer, kept = torch.randn(5, inputs, requires_grad=True), model.base_model.model[0], []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one):
        model(x).sum().backward()
    frozen = layer.base_layer.weight.data_ptr()
    ours = [one.numel() for one in kept if one.data_ptr() != frozen]
    assert max(ours) == layer.lora_A["default"].coefficients.numel() < inputs * outputs / 4
