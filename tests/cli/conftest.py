"""Two adapters that the command line trained, once for all tests of the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny
from shell import Place, run


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder: Path = tmp_path_factory.mktemp("place")
    bert, llama = tiny.bert(folder / "bert"), tiny.llama(folder / "llama")
    classified = tiny.write_jsonl(folder / "classified.jsonl", tiny.classified_rows())
    pairs = tiny.write_jsonl(folder / "pairs.jsonl", tiny.paired_rows())
    usual = ("--r", 4, "--num-basis", 16, "--lr", "3e-2", "--batch-size", 8, "--epochs", 3, "--json")
    trained = {
        "classifier": run(
            "train", "--task", "text-classification", "--model", bert, "--data", classified, "-o",
            folder / "classifier", *usual,
        ).json(),
        "writer": run("train", "--model", llama, "--data", pairs, "-o", folder / "writer", *usual).json(),
    }  # fmt: skip
    return Place(
        bert, llama, tiny.llama(folder / "other", seed=5), classified, pairs, str(folder / "classifier"),
        str(folder / "writer"), trained,
    )  # fmt: skip
