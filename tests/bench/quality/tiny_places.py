"""Bases and data of the benchmark's layout with random weights and a few rows, so that its real code path runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.torch import save_file

from nolakit.bench.quality.keyword_transformer import KeywordTransformer
from nolakit.bench.quality.resnet20 import ResNet20
from nolakit.bench.quality.task import Places
from tiny import COLOURS, FRUITS, llama, made

SPLITS = {"train": 24, "validation": 8, "test": 8}


def tiny_places(folder: Path) -> Places:
    """Everything that the tasks read."""
    places = Places(folder / "bases", folder / "data")
    for name in ("llama-stories-260k", "llama-novels"):
        llama(places.bases / name)
    for name, build in (
        ("keyword-transformer-1", lambda: KeywordTransformer(12)),
        ("resnet20-cifar10", lambda: ResNet20(10)),
    ):
        (places.bases / name).mkdir()
        save_file(made(build).state_dict(), places.bases / name / "model.safetensors")
    random = np.random.default_rng(0)
    for name in ("e2e", "p3"):
        _write(
            places.data / name,
            lambda n: {"prompt": f"the {COLOURS[n % 4]}", "completion": f"{FRUITS[n % 4]} is sweet"},
        )
    for name in ("trec6", "sst2"):
        _write(
            places.data / name, lambda n: {"text": f"a {COLOURS[n % 4]} {FRUITS[n // 2 % 4]}", "label": n % 2}
        )
    (places.data / "spoken_digits").mkdir()
    digits = np.repeat(np.arange(10), 6)
    frames = random.normal(size=(60, 98, 40)).astype(np.float16)
    np.savez(places.data / "spoken_digits" / "mfcc.npz", x=frames, digit=digits)
    (places.data / "cifar100").mkdir()
    images = random.integers(0, 256, (300, 32, 32, 3), dtype=np.uint8)
    np.savez(places.data / "cifar100" / "images.npz", train_x=images, train_y=np.repeat(np.arange(100), 3))
    return places


def _write(folder: Path, row) -> None:
    folder.mkdir(parents=True)
    for split, count in SPLITS.items():
        lines = "".join(json.dumps(row(number)) + "\n" for number in range(count))
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
