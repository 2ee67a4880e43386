"""TinyLoRA beside PEFT's: the same update and gradient from the same frozen tensors, and where the two differ."""

import pytest
import torch
from peft import TinyLoraConfig as PeftTinyLoraConfig
from peft import get_peft_model
from torch import nn

from nolakit import TinyLoraConfig
from nolakit.methods.tinylora import TinyLora
from nolakit.tuner.layers import computed_layers

SHAPES = [(12, 20), (30, 12), (24, 30), (16, 24), (10, 16)]  # (out, in)
TARGETS = [str(place) for place in range(len(SHAPES))]
TOLERANCE = 1e-5


def base():
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return nn.Sequential(*(nn.Linear(inputs, outputs) for outputs, inputs in SHAPES))


def assert_close(found, expected):
    assert (found - expected).norm() <= TOLERANCE * expected.norm()


@pytest.fixture(params=[0.0, 0.5, 1.0], ids=["untied", "half tied", "tied"])
def pair(request, monkeypatch):
    """PEFT's model and ours with its frozen tensors and its v."""
    options = {"r": 3, "u": 7, "target_modules": TARGETS, "weight_tying": request.param}
    theirs = get_peft_model(base(), PeftTinyLoraConfig(**options))
    ours = get_peft_model(base(), TinyLoraConfig(split_singular_values=True, store_frozen=True, **options))
    projections = {}
    groups = list(theirs.base_model.tinylora_v["default"].values())
    generator = torch.Generator().manual_seed(1)
    for v in groups:
        v.data.copy_(torch.randn(v.shape, generator=generator))
    for name, _, factors in computed_layers(ours, "default"):
        layer = theirs.get_submodule(name)
        factors["lora_A"].frozen.copy_(layer.tinylora_A["default"])
        factors["lora_B"].frozen.copy_(layer.tinylora_B["default"])
        projections[factors["lora_A"].shape.path] = layer.tinylora_P["default"]
    vectors = [value for value in ours.parameters() if value.requires_grad]
    assert [len(value) for value in vectors] == [len(v) for v in groups]
    for value, v in zip(vectors, groups, strict=True):
        value.data.copy_(v)

    def core(self, numbers, factor):
        return torch.einsum("i,ijk->jk", numbers, projections[factor.path].to(numbers))

    monkeypatch.setattr(TinyLora, "core", core)
    return theirs, ours, groups, vectors


def test_updates_and_gradients_are_the_same(pair):
    theirs, ours, groups, vectors = pair
    for name, layer, _ in computed_layers(ours, "default"):
        expected = theirs.get_submodule(name).get_delta_weight("default")
        assert expected.norm() > 0.1
        assert_close(layer.get_delta_weight("default"), expected)
    x = torch.randn(6, 20, generator=torch.Generator().manual_seed(2))
    outputs = [model(x) for model in (theirs, ours)]
    assert_close(outputs[1], outputs[0])
    for output in outputs:
        output.square().mean().backward()
    for value, v in zip(vectors, groups, strict=True):
        assert_close(value.grad, v.grad)


def test_the_paper_weighs_rows_by_s_and_peft_by_its_roots():
    """U S R V^T is PEFT's (U sqrt S) R' (sqrt S V^T) for R' = sqrt(S) R / sqrt(S): the same set of updates, from other
    numbers. So the two do not exchange files, and the default is the paper's."""
    options = {"r": 3, "u": 7, "target_modules": ["0"]}
    paper, split = (
        get_peft_model(base(), TinyLoraConfig(split_singular_values=split, **options))
        for split in (False, True)
    )
    updates = []
    for model in (paper, split):
        ((_, layer, factors),) = computed_layers(model, "default")
        factors["lora_B"].coefficients.data.copy_(torch.arange(1, 8) / 7)
        updates.append(layer.get_delta_weight("default").detach())
    assert (updates[0] - updates[1]).norm() > 0.01 * updates[0].norm()
    ((_, _, factors),) = computed_layers(split, "default")
    a, b = factors["lora_A"].frozen_part(), factors["lora_B"].frozen_part()
    roots = b.norm(dim=0)
    core = factors["lora_B"].method.core(factors["lora_B"].coefficients.detach(), factors["lora_B"].shape)
    assert_close(b @ (roots[:, None] * core / roots) @ a, updates[0])


def test_projections_have_pefts_variance():
    """Entries of variance 1 / r, uniform here and normal there."""
    paths = [f"layers.{place}.q" for place in range(40)]
    model = nn.ModuleDict({"layers": nn.ModuleList(nn.ModuleDict({"q": nn.Linear(8, 8)}) for _ in paths)})
    ours = get_peft_model(model, TinyLoraConfig(r=4, u=5, target_modules=["q"]))
    entries = []
    for _, _, factors in computed_layers(ours, "default"):
        factor = factors["lora_B"]
        entries += [factor.method.core(one, factor.shape) for one in torch.eye(5)]
    flat = torch.stack(entries).flatten()
    assert abs(flat.mean()) < 0.03 and 0.9 < flat.var() * 4 < 1.1


def test_tied_groups_follow_each_other_as_numbers_do():
    """Layer 2 comes before layer 10, and the first of a group holds its numbers."""
    model = nn.ModuleDict({"layers": nn.ModuleList(nn.ModuleDict({"q": nn.Linear(8, 8)}) for _ in range(11))})
    ours = get_peft_model(model, TinyLoraConfig(r=2, u=3, weight_tying=0.7, target_modules=["q"]))
    owners = [
        name.removeprefix("base_model.model.layers.")
        for name, _, factors in computed_layers(ours, "default")
        if factors["lora_B"].coefficients is not None
    ]
    assert owners == ["0.q", "3.q", "6.q"]
    theirs = get_peft_model(
        nn.ModuleDict({"layers": nn.ModuleList(nn.ModuleDict({"q": nn.Linear(8, 8)}) for _ in range(11))}),
        PeftTinyLoraConfig(r=2, u=3, weight_tying=0.7, target_modules=["q"]),
    )
    assert len(theirs.base_model.tinylora_v["default"]) == 3
