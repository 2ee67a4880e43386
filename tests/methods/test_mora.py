"""MoRA's closed forms against its definition, entry by entry."""

import math

import pytest
import torch

from nolakit.errors import ConfigError
from nolakit.methods.mora import Mora
from nolakit.methods.site import Factor, Site

SHAPES = [(16, 16), (12, 20), (30, 12), (5, 40), (40, 5), (3, 200), (7, 2), (1, 1)]  # (out, in)
by_type = pytest.mark.parametrize("mora_type", [1, 6])
by_shape = pytest.mark.parametrize("outputs, inputs", SHAPES)


def site_of(outputs, inputs, rank=3):
    return Site("layer", (rank, inputs), (outputs, rank))


def defined(mora_type, m, outputs, inputs):
    """The update by its effect on each unit vector, in plain loops. # shape: (out, in)"""
    width = len(m)
    chunks = math.ceil(inputs / width)
    update = torch.zeros(outputs, inputs, dtype=m.dtype)
    for column in range(inputs):
        x = torch.zeros(inputs, dtype=m.dtype)
        x[column] = 1
        parts = []
        for chunk in range(chunks):
            part = torch.stack([x[(chunk * width + entry) % inputs] for entry in range(width)])
            if mora_type == 6:
                turned = part.clone()
                for pair in range(width // 2):
                    angle = chunk * 10000 ** (-2 * pair / width)
                    first, second = part[pair], part[pair + width // 2]
                    turned[pair] = first * math.cos(angle) - second * math.sin(angle)
                    turned[pair + width // 2] = second * math.cos(angle) + first * math.sin(angle)
                part = turned
            parts.append(part)
        y = m @ sum(parts) if mora_type == 1 else torch.cat([m @ part for part in parts])
        update[:, column] = torch.stack([y[row % len(y)] for row in range(outputs)])
    return update


@by_type
@by_shape
def test_update_and_its_application(mora_type, outputs, inputs):
    method, site = Mora(mora_type), site_of(outputs, inputs)
    lora_a, lora_b = Factor("lora_A", site), Factor("lora_B", site)
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(method.count(lora_a), generator=generator, dtype=torch.float64)
    made = method.factor(numbers, lora_a, None, None)
    if mora_type == 1:
        made = method.factor(numbers[:0], lora_b, None, None) @ made
    expected = defined(mora_type, numbers.view(method.width(site), -1), outputs, inputs)
    torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-6)  # angles are of float32
    x = torch.randn(2, 3, inputs, generator=generator, dtype=torch.float64)
    applied = method.apply(x, numbers, lora_a, None, None)
    torch.testing.assert_close(applied, x @ made.T)


def test_inputs_of_the_last_chunks_are_left_out_where_outputs_are_fewer():
    """As in the official code: 5 outputs of a matrix of 12 rows see one chunk of the 40 inputs."""
    method, site = Mora(6), site_of(5, 40)
    assert method.width(site) == 12
    numbers = torch.ones(144)
    used = method.factor(numbers, Factor("lora_A", site), None, None).any(dim=0)
    assert used[:12].all() and not used[12:].any()


@pytest.mark.parametrize("wrong", [2, "6", True, None])
def test_other_types_are_refused(wrong):
    with pytest.raises(ConfigError, match="mora_type"):
        Mora(wrong)
