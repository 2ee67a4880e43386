"""Whole inputs, that each test damages a copy of."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import nolakit
from attacks.whole import llama_adapter, write_base


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return llama_adapter(tmp_path_factory.mktemp("whole") / "adapter")


@pytest.fixture(scope="session")
def packed(folder: Path) -> bytes:
    return nolakit.pack(folder, 8)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("whole") / "base")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where outputs would go."""
    made = tmp_path / "outputs"
    made.mkdir()
    return made


@pytest.fixture(scope="session", autouse=True)
def loaded(packed: bytes) -> None:
    """Kernels are compiled and libraries imported before anything is measured."""
    for name in ("gguf", "peft", "nolakit.tuner.loading", "nolakit.tasks.merging", "nolakit.export.official"):
        importlib.import_module(name)
    nolakit.expand(nolakit.read_packed(packed))
