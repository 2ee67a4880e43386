"""Counts from configurations alone, and exact bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from peft import get_peft_model
from safetensors.torch import save_file

import tiny
from nolakit.errors import ConfigError, ModelError, TargetError
from nolakit.tasks import count
from nolakit.tasks.configurations import build_config
from nolakit.tasks.file_sizes import safetensors_bytes

CONFIGS = Path(__file__).parents[1] / "data"


@pytest.mark.parametrize(
    ("size", "num_basis", "nola", "lora"),
    [("7b", 128, 57_344, 2_498_560), ("13b", 256, 143_360, 3_911_680), ("70b", 512, 573_440, 12_943_360)],
)
def test_the_published_counts(size: str, num_basis: int, nola: int, lora: int) -> None:
    options = {"nola": {"r": 16, "num_basis": num_basis}, "lora": {"r": 1}}
    rows = count(CONFIGS / f"llama-2-{size}.json", methods=["nola", "lora"], options=options)
    assert [row.trained for row in rows] == [nola, lora]
    assert [row.modules for row in rows] == [7 * {"7b": 32, "13b": 40, "70b": 80}[size]] * 2


def test_the_configurations_are_the_models() -> None:
    numbers = {"7b": 6_738_415_616, "13b": 13_015_864_320, "70b": 68_976_648_192}
    for size, expected in numbers.items():
        (row,) = count(CONFIGS / f"llama-2-{size}.json", methods=["full"])
        assert row.trained == expected


@pytest.mark.parametrize("method", ["nola", "lora", "vera", "loha", "ia3", "full"])
def test_bytes_are_those_of_a_saved_file(tmp_path: Path, method: str) -> None:
    base = tiny.llama(tmp_path / "base", tie_word_embeddings=False)
    (row,) = count(base, methods=[method])
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    if method != "full":
        model = get_peft_model(model, build_config(method, {}, task="causal-lm", heads=[]))
    model.save_pretrained(tmp_path / "saved")
    (file,) = (tmp_path / "saved").glob("*.safetensors")
    assert row.file_bytes == file.stat().st_size
    assert row.trained == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_bytes_of_mixed_files(tmp_path: Path) -> None:
    tensors = {
        "b": torch.zeros(3, dtype=torch.float16),
        "a": torch.zeros(2, 5, dtype=torch.int8),
        "é": torch.zeros(7, dtype=torch.float64),
        "c": torch.zeros(1, dtype=torch.bfloat16),
        "empty": torch.zeros(0, 4),
        "flag": torch.zeros(3, dtype=torch.bool),
        "number": torch.zeros(11, dtype=torch.int64),
    }
    for metadata in (None, {"format": "pt"}, {"x": "ü"}):
        save_file(tensors, tmp_path / "f", metadata=metadata)
        assert safetensors_bytes(tensors, metadata) == (tmp_path / "f").stat().st_size


def test_encoders_are_counted_too(tmp_path: Path) -> None:
    rows = count(tiny.bert(tmp_path / "bert"), methods=["nola"], options={"nola": {"num_basis": 10}})
    assert rows[0].trained == (2 * 6 + 1) * 20
    rows = count(tiny.vit(tmp_path / "vit"), methods=["lora"], target_modules="q_proj,v_proj")
    assert rows[0].modules == 4


def test_methods_that_need_weights_say_so() -> None:
    rows = count(CONFIGS / "llama-2-7b.json", methods=["boft", "head"])
    assert [row.trained for row in rows] == [None, None]
    assert all(row.reason for row in rows)


def test_what_cannot_be_counted(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'lora'"):
        count(CONFIGS / "llama-2-7b.json", methods=["lorra"])
    with pytest.raises(TargetError, match="did you mean 'q_proj'"):
        count(CONFIGS / "llama-2-7b.json", methods=["nola"], target_modules=["q_pro"])
    (tmp_path / "odd.json").write_text(json.dumps({"model_type": "no-such-model"}))
    (tmp_path / "bad.json").write_text("{")
    for name in ("odd.json", "bad.json"):
        with pytest.raises(ModelError, match=name):
            count(tmp_path / name)
    with pytest.raises(ModelError, match=r"config\.json"):
        (tmp_path / "empty").mkdir()
        count(tmp_path / "empty")
