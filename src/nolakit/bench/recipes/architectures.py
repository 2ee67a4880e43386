"""Networks that a recipe trains from nothing: made fresh, and saved as a base like any other."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessorPil

from nolakit.adapter.writing import new_folder

ARCHITECTURES = ("resnet20",)
IMAGE = 128  # the stem and its pooling make 32 x 32 of it, CIFAR's own size


def fresh(name: str, folder: Path) -> str:
    """The folder of a fresh network, made where it is not there yet. torch's generator stays as it was.

    Convolutions and the classifier start at He's normal weights, always the same; PRANC replaces them.
    """
    assert name in ARCHITECTURES
    if not folder.exists():
        config = ResNetConfig(
            embedding_size=16, hidden_sizes=[16, 32, 64], depths=[3, 3, 3], layer_type="basic", num_labels=10
        )
        with torch.random.fork_rng(devices=()):
            network = ResNetForImageClassification(config)
        generator = torch.Generator("cpu").manual_seed(0)
        for parameter in network.parameters():
            if parameter.ndim > 1:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=generator)
        nn.init.zeros_(network.classifier[-1].bias)
        with new_folder(folder) as made:
            network.save_pretrained(made)
            ViTImageProcessorPil(size={"height": IMAGE, "width": IMAGE}).save_pretrained(made)
    return str(folder)
