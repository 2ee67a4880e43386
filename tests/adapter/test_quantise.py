"""Coefficients in a few bits."""

from __future__ import annotations

import pytest
import torch

from nolakit.adapter.quantise import LARGEST, fake_quantise, quantise


def coefficients(rows: int = 5, count: int = 257) -> torch.Tensor:
    return (
        torch.randn(rows, count, generator=torch.Generator().manual_seed(0))
        * torch.logspace(-6, 3, rows)[:, None]
    )


@pytest.mark.parametrize("bits", LARGEST)
def test_integers_are_symmetric_and_near(bits):
    wanted = coefficients()
    stored = quantise(wanted, bits)
    assert stored.values.dtype == torch.int8
    assert stored.values.abs().max() == LARGEST[bits]
    error = (stored.dequantised() - wanted).norm(dim=1) / wanted.norm(dim=1)
    assert error.max() < {8: 0.012, 4: 0.145, 3: 0.26, 2: 0.5}[bits]
    assert torch.equal(quantise(-wanted, bits).values, -stored.values)


def test_eight_bits_keep_the_largest():
    wanted = coefficients()
    stored = quantise(wanted, 8)
    torch.testing.assert_close(stored.scales, wanted.abs().amax(1) / 127, rtol=0, atol=0)
    assert ((stored.dequantised() - wanted).abs() <= stored.scales[:, None] * 0.5001).all()


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_the_scale_is_better_than_that_of_the_largest(bits):
    wanted = coefficients(8, 512)
    widest = wanted.abs().amax(1, keepdim=True) / LARGEST[bits]
    plain = (wanted / widest).round() * widest
    found = quantise(wanted, bits).dequantised()
    assert ((found - wanted).norm(dim=1) < 0.95 * (plain - wanted).norm(dim=1)).all()


def test_zeros_stay_zeros():
    stored = quantise(torch.zeros(2, 4), 4)
    assert not stored.values.any() and not stored.scales.any()
    assert not stored.dequantised().any()


@pytest.mark.parametrize("bits", LARGEST)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fake_quantisation_has_the_packed_value_and_the_straight_gradient(bits, dtype):
    latent = coefficients().to(dtype).requires_grad_()
    rounded = fake_quantise(latent, bits)
    assert torch.equal(rounded, quantise(latent.detach().float(), bits).dequantised().to(dtype))
    weights = torch.randn_like(latent)
    (rounded * weights).sum().backward()
    assert torch.equal(latent.grad, weights)


def test_rounding_twice_changes_nothing():
    for bits in LARGEST:
        once = quantise(coefficients(), bits)
        again = quantise(once.dequantised(), bits)
        assert torch.equal(once.values, again.values)
        torch.testing.assert_close(again.scales, once.scales, rtol=2e-7, atol=0)
