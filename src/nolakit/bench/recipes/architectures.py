"""Networks that a recipe trains from nothing: made fresh, and saved as a base like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessorPil

from nolakit.adapter.writing import new_folder

ARCHITECTURES = ("resnet20",)
RESNET20: dict[str, Any] = {
    "embedding_size": 16, "hidden_sizes": [16, 32, 64], "depths": [3, 3, 3], "layer_type": "basic", "num_labels": 10,
}  # fmt: skip
IMAGE = 128  # the stem and its pooling make 32 x 32 of it, CIFAR's own size


def fresh(name: str, folder: Path) -> str:
    """The folder of a fresh network, made where it is not there yet. torch's generator stays as it was.

    Convolutions and the classifier start at He's normal weights, always the same; PRANC replaces them.
    """
    assert name in ARCHITECTURES
    if not folder.exists():
        config = ResNetConfig(**RESNET20)
        with torch.random.fork_rng(devices=()):
            network = ResNetForImageClassification(config)
        generator = torch.Generator("cpu").manual_seed(0)
        for parameter in network.parameters():
            if parameter.ndim > 1:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=generator)
        network.get_parameter("classifier.1.bias").data.zero_()
        with new_folder(folder) as made:
            network.save_pretrained(made)
            ViTImageProcessorPil(size={"height": IMAGE, "width": IMAGE}).save_pretrained(made)
    return str(folder)
