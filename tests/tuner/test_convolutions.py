"""Conv2d targets are NOLA: computed factors, applied as the base convolution is."""

import pytest
import torch
import torch.nn.functional as F
from peft import PeftModel, get_peft_model
from torch import nn

from nolakit import NolaConfig
from tuner.adapting import TOLERANCE, assert_close, assert_differ, coefficients, randomize, train

SHAPES = {
    "plain": {"kernel_size": 3},
    "pointwise": {"kernel_size": 1},
    "strided": {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0)},
    "dilated": {"kernel_size": 3, "dilation": 2, "padding": 2},
    "same": {"kernel_size": 3, "dilation": 2, "padding": "same"},
    "grouped": {"kernel_size": 3, "groups": 4},
    "depthwise": {"kernel_size": 3, "groups": 8},
}
ignore_groups = pytest.mark.filterwarnings("ignore:LoRA adapter added to ConvNd layer with groups")


class Convolution(nn.Module):
    def __init__(self, options):
        super().__init__()
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            self.conv = nn.Conv2d(8, 16, **options)
            self.head = nn.Linear(16, 3)

    def forward(self, x, labels):
        from small_models import Output

        out = self.head(self.conv(x).mean((2, 3)))
        return Output(F.cross_entropy(out, labels), out)


def make(options):
    config = NolaConfig(r=8, num_basis=12, lora_alpha=8, target_modules=["conv"])
    return get_peft_model(Convolution(options), config).eval()


def images():
    return torch.randn(2, 8, 9, 7, generator=torch.Generator().manual_seed(0))


@ignore_groups
@pytest.mark.parametrize("options", SHAPES.values(), ids=SHAPES)
def test_update_is_that_convolution_with_the_low_rank_weight(options):
    model, x = make(options), images()
    layer = model.base_model.model.conv
    base = layer.base_layer
    assert torch.equal(layer(x), base(x))
    randomize(model)
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    inner = F.conv2d(x, down, None, base.stride, base.padding, base.dilation)  # lora_A is never grouped
    expected = base(x) + F.conv2d(inner, up, groups=base.groups)
    assert_close(layer(x), expected)
    assert_differ(layer(x), base(x))


@ignore_groups
@pytest.mark.parametrize("options", SHAPES.values(), ids=SHAPES)
def test_trains_and_comes_back(options, tmp_path):
    model, batch = make(options), {"x": images(), "labels": torch.tensor([0, 2])}
    assert {value.numel() for value in coefficients(model).values()} == {12}
    losses = train(model, batch)
    assert losses[-1] < 0.9 * losses[0]
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(Convolution(options), tmp_path).eval()
    assert torch.equal(loaded(**batch).logits, model.eval()(**batch).logits)


@ignore_groups
@pytest.mark.parametrize("options", SHAPES.values(), ids=SHAPES)
def test_merges_or_refuses_to(options):
    model, x = make(options), images()
    randomize(model)
    layer = model.base_model.model.conv
    expected, weight = layer(x), layer.base_layer.weight.detach().clone()
    if "groups" in options:
        with pytest.raises(NotImplementedError, match="groups"):
            model.merge_adapter()
        assert torch.equal(layer.base_layer.weight, weight)
    else:
        model.merge_adapter()
        torch.testing.assert_close(layer(x), expected, **TOLERANCE)
        assert_differ(layer.base_layer.weight, weight)
