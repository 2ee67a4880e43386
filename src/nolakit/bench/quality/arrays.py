"""Tasks whose rows are arrays: spoken digits on the Keyword Transformer, CIFAR-100 on ResNet-20."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nolakit.bench.quality.few_shot import few_shot
from nolakit.bench.quality.keyword_transformer import keyword_transformer
from nolakit.bench.quality.resnet20 import resnet20
from nolakit.bench.quality.task import Loaded, Places, Row, Size

CHANNEL_MEAN = np.array((0.485, 0.456, 0.406), dtype=np.float32)  # the base's own
CHANNEL_DEVIATION = np.array((0.229, 0.224, 0.225), dtype=np.float32)


def spoken_digits(places: Places, size: Size) -> Loaded:
    """Ten digits of four speakers; rows of every split are a class's."""
    x, digit = _read(places.set("spoken_digits") / "mfcc.npz", "x", "digit")
    frames, digits = x.astype(np.float32), digit.astype(int)
    folder = places.base("keyword-transformer-1")
    return Loaded(
        model=lambda: keyword_transformer(folder, 10),
        splits=_splits(frames, digits, size, "frames"),
        collate=_collate("frames"),
        heads=("head",),
    )


def cifar100(places: Places, size: Size) -> Loaded:
    """A hundred classes of the 2,500 training images that are there; rows of every split are a class's."""
    x, y = _read(places.set("cifar100") / "images.npz", "train_x", "train_y")
    pixels, labels = x.astype(np.float32) / 255, y.astype(int)
    images = (pixels - CHANNEL_MEAN) / CHANNEL_DEVIATION
    folder = places.base("resnet20-cifar10")
    return Loaded(
        model=lambda: resnet20(folder, 100),
        splits=_splits(np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels, size, "images"),
        collate=_collate("images"),
        heads=("linear",),
    )


def _read(path: Path, *names: str) -> list[np.ndarray]:
    """These arrays of an .npz file, without unpickling anything."""
    found = []
    with zipfile.ZipFile(path) as archive:
        for name in names:
            with archive.open(f"{name}.npy") as file:
                found.append(np.lib.format.read_array(file, allow_pickle=False))
    return found


def _splits(values: np.ndarray, labels: np.ndarray, size: Size, name: str) -> dict[str, list[Row]]:
    sets = few_shot(labels, (size.train, size.validation, size.test))
    return {
        split: [{name: torch.from_numpy(values[row]), "labels": int(labels[row])} for row in rows]
        for split, rows in zip(("train", "validation", "test"), sets, strict=True)
    }


def _collate(name: str) -> Callable[[list[Row]], dict[str, Any]]:
    def collate(rows: list[Row]) -> dict[str, Any]:
        return {
            name: torch.stack([row[name] for row in rows]),
            "labels": torch.tensor([row["labels"] for row in rows]),
        }

    return collate
