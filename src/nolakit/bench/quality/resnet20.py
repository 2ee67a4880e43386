"""ResNet-20 for images of 32 x 32, arXiv 1512.03385: three stages of three blocks, shortcuts without weights.

The names of the modules are those of the widely used weights for CIFAR-10.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from nolakit.errors import ModelError

STAGES, BLOCKS = (16, 32, 64), 3


class Block(nn.Module):
    """Two convolutions and a shortcut, which halves the image and pads the channels with zeros where a stage begins."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stride = 1 if inputs == outputs else 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, self.stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride == 2:
            more = (out.shape[1] - x.shape[1]) // 2
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, more, more))
        return F.relu(out + x)


class ResNet20(nn.Module):
    """From images to logits. Batch normalisation keeps the statistics that it was loaded with, in training too.
    # shape: (batch, 3, 32, 32) -> (batch, classes)"""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, STAGES[0], 3, padding=1, bias=False), nn.BatchNorm2d(STAGES[0])
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(Block(before, width), *(Block(width, width) for _ in range(BLOCKS - 1)))
            for before, width in pairwise((STAGES[0], *STAGES))
        )
        self.linear = nn.Linear(STAGES[-1], classes)

    def train(self, mode: bool = True) -> ResNet20:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, Any]:
        x = F.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits = self.linear(x.mean(dim=(2, 3)))
        return (
            {"logits": logits}
            if labels is None
            else {"loss": F.cross_entropy(logits, labels), "logits": logits}
        )


def resnet20(folder: Path, classes: int) -> ResNet20:
    """The weights of a folder under a new classifier of `classes`."""
    model = ResNet20(classes)
    weights = {n: value for n, value in load_file(folder / "model.safetensors").items() if "linear." not in n}
    found = model.load_state_dict(weights, strict=False)
    missing = [name for name in found.missing_keys if "num_batches" not in name and "linear." not in name]
    if missing or found.unexpected_keys:
        raise ModelError(
            f"found weights in {str(folder)!r} without {missing} and with {found.unexpected_keys}"
        )
    return model
