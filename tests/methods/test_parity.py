"""PEFT's implementation with its frozen tensors in the place of ours: equal updates and equal gradients.

PEFT's frozen numbers come from torch's and numpy's generators, ours from the portable basis, so that only what is made
of them can be compared. RandLoRA and TinyLoRA have files of their own.
"""

from __future__ import annotations

from typing import Any

import peft
import pytest
import torch
from peft.optimizers import create_lorafa_optimizer
from torch import nn

import nolakit
from nolakit.methods.lora_fa import LoraFa
from nolakit.methods.site import Factor, Site
from nolakit.methods.unilora import UniLora
from nolakit.methods.vera import Vera
from nolakit.testing.adapting import coefficients, updates

SHAPES = {"a": (12, 20), "b": (30, 12), "c": (30, 30)}  # (out, in)


class Chain(nn.Module):
    """Three layers of unlike shapes. # shape: (batch, 20) -> (batch, 30)"""

    def __init__(self) -> None:
        super().__init__()
        for place, (name, (outputs, inputs)) in enumerate(SHAPES.items()):
            layer = nn.Linear(inputs, outputs, bias=False)
            layer.weight.data = numbers(outputs, inputs, seed=place) / inputs**0.5
            self.add_module(name, layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(torch.tanh(self.b(torch.tanh(self.a(x)))))


def numbers(*dims: int, seed: int) -> torch.Tensor:
    return torch.randn(*dims, generator=torch.Generator().manual_seed(seed))


def adapted(config: Any) -> Any:
    config.target_modules = set(SHAPES)
    with torch.random.fork_rng(devices=()):
        return peft.get_peft_model(Chain(), config)


def own(model: nn.Module, path: str, role: str) -> torch.Tensor:
    """The trained numbers of one of our factors."""
    return coefficients(model)[f"base_model.model.{path}.{role}.default.coefficients"]


def layers(model: nn.Module) -> dict[str, Any]:
    return {path: model.get_submodule(f"base_model.model.{path}") for path in SHAPES}


def gradients(model: nn.Module, of: list[torch.Tensor]) -> list[torch.Tensor]:
    return list(torch.autograd.grad((model(numbers(5, 20, seed=1)) * numbers(5, 30, seed=2)).sum(), of))


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Within 1e-5 of the largest."""
    largest = expected.detach().abs().max()
    torch.testing.assert_close(found / largest, expected.reshape(found.shape) / largest, rtol=0, atol=1e-5)


def assert_parity(ours: nn.Module, theirs: nn.Module, pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Equal updates where our numbers are theirs, and equal gradients."""
    for seed, (mine, other) in enumerate(pairs):
        other.data.copy_(numbers(*other.shape, seed=seed))
        mine.data.copy_(other.flatten())
    assert len(pairs) == sum(value.requires_grad for value in theirs.parameters())
    for path, update in updates(ours).items():
        assert_close(update, layers(theirs)[path].get_delta_weight("default"))
    found, expected = (
        gradients(ours, [mine for mine, _ in pairs]),
        gradients(theirs, [other for _, other in pairs]),
    )
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other)


def test_vera(monkeypatch):
    theirs = adapted(peft.VeraConfig(r=6, d_initial=0.1))
    frozen = {"lora_A": theirs.base_model.vera_A["default"], "lora_B": theirs.base_model.vera_B["default"]}
    monkeypatch.setattr(Vera, "random", lambda self, role, dims, **_: frozen[role][: dims[0], : dims[1]])
    ours = adapted(nolakit.VeraConfig(r=6))
    pairs = []
    for path, layer in layers(theirs).items():
        pairs += [
            (own(ours, path, "lora_A"), layer.vera_lambda_d["default"]),
            (own(ours, path, "lora_B"), layer.vera_lambda_b["default"]),
        ]
    for mine, other in pairs:
        assert torch.equal(mine, other)  # at the start
    assert_parity(ours, theirs, pairs)


@pytest.mark.parametrize("path, share", [("c", 1), ("b", (12 / 30) ** 0.5)])
def test_vera_scales_each_module_by_its_own_inputs(path, share):
    """PEFT cuts A for a narrow module out of that of the widest, whose bound is smaller. The two differ on purpose, so
    that a module's update does not depend on which others are adapted."""
    theirs = adapted(peft.VeraConfig(r=6)).base_model.vera_A["default"]
    outputs, inputs = SHAPES[path]
    factor = Factor("lora_A", Site(path, (6, inputs), (outputs, 6)))
    made = Vera().factor(torch.ones(6), factor, None, None)
    bound = (6 / inputs) ** 0.5
    assert float(made.abs().max()) == pytest.approx(bound, rel=0.05)
    assert float(theirs[:, :inputs].abs().max()) == pytest.approx(bound * share, rel=0.05)


def test_uni_lora(monkeypatch):
    theirs = adapted(peft.UniLoraConfig(r=4, theta_d_length=37))
    indices = torch.cat([
        one["default"].flatten()
        for layer in layers(theirs).values()
        for one in (layer.unilora_indices_A, layer.unilora_indices_B)
    ])  # fmt: skip
    # Some numbers have one place more than the others. PEFT takes these at random, ours are the first: renamed
    order = indices.bincount().argsort(descending=True, stable=True)
    assert indices.bincount().unique().tolist() == [14, 15]
    monkeypatch.setattr(UniLora, "indices", lambda self, device: order.argsort()[indices].int())
    ours = adapted(nolakit.UniLoraConfig(r=4, theta_d_length=37))
    theta, other = own(ours, "a", "lora_A"), theirs.base_model.unilora_theta_d["default"]
    assert list(coefficients(ours).values()) == [theta]
    for start in (theta.detach(), other.detach()):
        assert 0.015 < float(start.abs().max()) <= 0.02
    other.data.copy_(numbers(37, seed=0))
    theta.data.copy_(other[order])
    for path, update in updates(ours).items():
        assert_close(update, layers(theirs)[path].get_delta_weight("default"))
    (found,), (expected,) = gradients(ours, [theta]), gradients(theirs, [other])
    assert_close(found, expected[order])


def test_lora_fa(monkeypatch):
    theirs = adapted(peft.LoraConfig(r=4, lora_alpha=8))
    create_lorafa_optimizer(theirs, r=4, lora_alpha=8, lr=0.1)  # freezes A
    frozen = {path: layer.lora_A["default"].weight.detach() for path, layer in layers(theirs).items()}
    monkeypatch.setattr(LoraFa, "random", lambda self, what, dims, *, path, **_: frozen[path])
    ours = adapted(nolakit.LoraFaConfig(r=4, lora_alpha=8))
    assert_parity(ours, theirs, [
        (own(ours, path, "lora_B"), layer.lora_B["default"].weight) for path, layer in layers(theirs).items()
    ])  # fmt: skip


def test_lora_fa_needs_no_optimizer_of_its_own():
    """PEFT's multiplies the gradient by (A A^T)^-1 / scaling^2. Of the A that is drawn A A^T is nearly a multiple of
    the identity, which AdamW divides out."""
    drawn = LoraFa().factor(torch.empty(0), Factor("lora_A", Site("q", (8, 768), (768, 8))), None, None)
    eigenvalues = torch.linalg.eigvalsh(drawn @ drawn.T)
    assert 0.27 < float(eigenvalues.min()) < float(eigenvalues.max()) < 0.4
