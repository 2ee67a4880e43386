"""Tiny bases and data, and two adapters that are trained once for all tests of the folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tiny
from nolakit.tasks import TrainResult, TrainSettings, train


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("bases")
    return {
        "llama": tiny.llama(folder / "llama"),
        "wide": tiny.llama(folder / "wide", hidden_size=64, intermediate_size=64, num_key_value_heads=4),
        "bert": tiny.bert(folder / "bert"),
        "vit": tiny.vit(folder / "vit"),
    }


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("data")
    return {
        "classified": tiny.write_jsonl(folder / "classified.jsonl", tiny.classified_rows()),
        "held_out": tiny.write_jsonl(folder / "held_out.jsonl", tiny.classified_rows(24, start=1000)),
        "pairs": tiny.write_jsonl(folder / "pairs.jsonl", tiny.paired_rows()),
        "images": tiny.image_folder(folder / "images"),
    }


@pytest.fixture(scope="session")
def make_settings(bases: dict[str, str], data: dict[str, str]) -> Callable[..., TrainSettings]:
    """Settings of a short run that learns, with changes."""

    def make(task: str, output: Path, **changes: Any) -> TrainSettings:
        rows = {"causal-lm": "pairs", "text-classification": "classified", "image-classification": "images"}
        base = {"causal-lm": "llama", "text-classification": "bert", "image-classification": "vit"}
        usual = {
            "model": bases[base[task]],
            "data": data[rows[task]],
            "eval_data": data["held_out"] if task == "text-classification" else data[rows[task]],
            "options": {"r": 4, "num_basis": 16},
            "lr": 3e-2,
            "epochs": 4,
            "batch_size": 8,
        }
        return TrainSettings(task=task, output=str(output), **{**usual, **changes})

    return make


@pytest.fixture(scope="session")
def classifier(make_settings, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train(make_settings("text-classification", tmp_path_factory.mktemp("trained") / "classifier"))


@pytest.fixture(scope="session")
def writer(make_settings, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train(
        make_settings("causal-lm", tmp_path_factory.mktemp("trained") / "writer", epochs=16, eval_every=24)
    )
