"""`nolakit export`, `merge` and `import-official` as a shell sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

import tiny
from export.proof import decoder, prepare
from export.test_official import write_checkpoint
from nolakit.cli.failures import ExitCode
from nolakit.tasks import TrainSettings, evaluate, merge, train
from nolakit.tasks.loading import load_trained
from shell import run


@pytest.mark.parametrize(
    ("to", "options", "size"),
    [
        ("lora", (), 86_016),
        ("lora", ("--dtype", "bfloat16"), 43_008),
        ("merged", (), 177_000),
        ("merged", ("--dtype", "bfloat16", "--max-shard-size", "30KB"), 88_500),
        ("gguf", (), 86_016),
        ("gguf", ("--dtype", "float16"), 43_008),
    ],
)
def test_export(tmp_path: Path, to: str, options: tuple[str, ...], size: int) -> None:
    place = prepare(tmp_path, decoder(), r=16)
    (place.adapter / "training.json").write_text("{}")
    out = tmp_path / "out"
    found = run("export", place.adapter, "--to", to, "-o", out, *options, "--json").json()
    assert (found["output"], found["format"]) == (str(out), to)
    assert found["bytes"] == pytest.approx(size, rel=0.1)
    assert out.is_file() == (to == "gguf")
    assert (out / "training.json").is_file() == (to != "gguf")
    assert (to != "merged" or (out / "model.safetensors.index.json").is_file()) == (
        to != "merged" or len(options) > 2
    )
    again = run("export", place.adapter, "--to", to, "-o", out)
    assert (again.code, "--overwrite" in again.stderr) == (ExitCode.OUTPUT_EXISTS, True)
    shown = run("export", place.adapter, "--to", to, "-o", out, *options, "--overwrite")
    assert (shown.code, f"{found['bytes']:,}" in shown.stdout) == (ExitCode.OK, True)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (
            ("--to", "merged", "--approximate-rank", "2"),
            ExitCode.USAGE,
            "--approximate-rank with --to merged",
        ),
        (("--to", "gguf", "--max-shard-size", "1GB"), ExitCode.USAGE, "--max-shard-size with --to gguf"),
        (("--to", "gguf", "--dtype", "bfloat16"), ExitCode.USAGE, "float32 or float16"),
        (("--to", "merged", "--max-shard-size", "many"), ExitCode.USAGE, "'many'"),
        (("--to", "merged", "--base", "./none"), ExitCode.BAD_INPUT, "./none"),
        (("--to", "gguf", "--base", "OTHER"), ExitCode.OTHER_BASE, "layers.1"),
        (("--to", "merged", "--base", "OTHER"), ExitCode.USAGE, "layers.1"),
    ],
)
def test_export_says_what_is_wrong(
    tmp_path: Path, options: tuple[str, ...], code: ExitCode, said: str
) -> None:
    place = prepare(tmp_path, decoder())
    decoder(num_hidden_layers=1).save_pretrained(tmp_path / "other")
    options = tuple(str(tmp_path / "other") if option == "OTHER" else option for option in options)
    found = run("export", place.adapter, "-o", tmp_path / "out", *options)
    assert (found.code, found.stdout) == (code, "")
    assert said in " ".join(found.stderr.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "base", "other"]


def test_import_official(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "official")
    refused = run("import-official", tmp_path / "official", "-o", tmp_path / "lora")
    assert (refused.code, "--made-on" in refused.stderr) == (ExitCode.BAD_INPUT, True)
    made = run(
        "import-official", tmp_path / "official", "--made-on", "cpu", "-o", tmp_path / "lora", "--dtype", "bfloat16",
        "--json",
    ).json()  # fmt: skip
    weights = tmp_path / "lora" / "adapter_model.safetensors"
    assert made == {"output": str(tmp_path / "lora"), "format": "lora", "bytes": weights.stat().st_size}
    assert {value.dtype for value in load_file(weights).values()} == {torch.bfloat16}
    assert run("inspect", tmp_path / "lora", "--json").json()["method"] == "lora"


def test_merge_streams_where_the_files_name_weights_as_the_model_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Llama is merged without being loaded; a ViT, whose files name weights otherwise, by PEFT; both the same way."""

    def settings(task: str, model: str, data: str, **changes: Any) -> TrainSettings:
        return TrainSettings(
            task=task, model=model, data=data, max_steps=4, lr=0.05, output=str(tmp_path / task),
            options={"r": 4, "num_basis": 16}, **changes,
        )  # fmt: skip

    pairs = tiny.write_jsonl(tmp_path / "pairs.jsonl", tiny.paired_rows())
    images = tiny.image_folder(tmp_path / "images")
    train(settings("causal-lm", tiny.llama(tmp_path / "llama"), pairs))
    train(settings("image-classification", tiny.vit(tmp_path / "vit"), images))
    loaded: list[str] = []

    def spy(folder: Path, **options: Any) -> Any:
        loaded.append(Path(folder).name)
        return load_trained(folder, **options)

    monkeypatch.setattr("nolakit.tasks.merging.load_trained", spy)
    for task, data in (("causal-lm", pairs), ("image-classification", images)):
        merge(tmp_path / task, tmp_path / f"merged-{task}")
        before = evaluate(tmp_path / task, data=data)
        after = evaluate(tmp_path / f"merged-{task}", data=data)
        assert after.metrics == pytest.approx(before.metrics, rel=1e-4)
    assert loaded == ["image-classification"]


def test_a_merged_classifier_names_its_class_and_labels(tmp_path: Path) -> None:
    rows = tiny.write_jsonl(tmp_path / "rows.jsonl", tiny.classified_rows(16))
    train(
        TrainSettings(
            task="text-classification", model=tiny.bert(tmp_path / "bert"), data=rows, max_steps=1,
            options={"r": 4, "num_basis": 16}, output=str(tmp_path / "adapter"),
        )
    )  # fmt: skip
    merge(tmp_path / "adapter", tmp_path / "merged")
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert sorted(config["label2id"]) == ["animal", "fruit"]
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged")
    assert model.config.id2label == {number: label for label, number in config["label2id"].items()}
