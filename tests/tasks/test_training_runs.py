"""Whole runs: they learn, and what is written gives the same figures when it is read again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors import safe_open

import tiny
from nolakit.errors import (
    ConfigError,
    DataError,
    ModelError,
    OutputExistsError,
    TargetError,
    UnsupportedError,
)
from nolakit.tasks import TrainResult, evaluate, train
from nolakit.tasks.configurations import UNSUPPORTED

METRICS = {"loss", "accuracy", "macro_f1"}


def final(result: TrainResult) -> dict[str, float]:
    return {name: value for name, value in result.metrics.items() if name != "train_loss"}


def test_a_classifier_learns_and_is_read_back(classifier: TrainResult, data: dict[str, str]) -> None:
    losses = [row["eval_loss"] for row in classifier.history]
    assert losses[-1] < 0.7 * losses[0] or classifier.metrics["accuracy"] == 1.0
    assert classifier.metrics["accuracy"] >= 0.9
    again = evaluate(classifier.output, data=data["held_out"])
    assert again.metrics == pytest.approx(final(classifier), rel=1e-6)
    assert (again.rows, again.task, again.split) == (24, "text-classification", "train")


def test_a_language_model_learns_and_is_read_back(writer: TrainResult, data: dict[str, str]) -> None:
    losses = [row["eval_loss"] for row in writer.history]
    assert losses[-1] < 0.8 * losses[0]
    again = evaluate(writer.output, data=data["pairs"])
    assert again.metrics == pytest.approx(final(writer), rel=1e-6)
    assert set(again.metrics) == {"loss", "perplexity", "token_accuracy"}


def test_merged_is_the_same(classifier: TrainResult, writer: TrainResult, data: dict[str, str]) -> None:
    for result, rows in ((classifier, "held_out"), (writer, "pairs")):
        merged = evaluate(result.output, data=data[rows], merged=True)
        assert merged.merged
        assert merged.metrics == pytest.approx(final(result), rel=1e-4)


def test_images(make_settings, data: dict[str, str], tmp_path: Path) -> None:
    result = train(make_settings("image-classification", tmp_path / "seen"))
    assert result.metrics["accuracy"] == 1.0
    for merged in (False, True):
        again = evaluate(result.output, data=data["images"], merged=merged)
        assert again.metrics == pytest.approx(final(result), rel=1e-4)
    assert result.trained_head == 32 * 2 + 2


def test_counts_keep_the_head_apart(classifier: TrainResult, writer: TrainResult) -> None:
    modules = 2 * 6 + 1  # query, key, value, output and two of the MLP in each block, and the pooler
    assert classifier.trained == modules * 2 * 16
    assert classifier.trained_head == 32 * 2 + 2
    assert (writer.trained, writer.trained_head) == (2 * 7 * 2 * 16, 0)


def test_the_folder_holds_an_adapter_and_its_record(classifier: TrainResult, bases: dict[str, str]) -> None:
    folder = Path(classifier.output)
    assert {file.name for file in folder.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "README.md",
        "training.json",
    }
    assert classifier.adapter_bytes == (folder / "adapter_model.safetensors").stat().st_size
    record = json.loads((folder / "training.json").read_text())
    assert record["labels"] == ["animal", "fruit"]
    assert record["settings"]["model"] == bases["bert"]
    assert record["settings"]["lr"] == 3e-2
    assert record["metrics"] == classifier.metrics
    assert {"nolakit", "peft", "transformers", "torch", "python"} == set(record["versions"])
    with safe_open(folder / "adapter_model.safetensors", "np") as file:
        head = [key for key in file.keys() if "coefficients" not in key]  # noqa: SIM118 - not a dict
    assert sorted(head) == ["base_model.model.classifier.bias", "base_model.model.classifier.weight"]
    assert list(folder.parent.iterdir()) == [folder]  # no checkpoints are left


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("lora", {"r": 1}),
        ("vera", {"r": 8}),
        ("randlora", {"r": 4}),
        ("ia3", {"target_modules": ["value"], "feedforward_modules": []}),
        ("prompt_tuning", {"num_virtual_tokens": 2}),
        ("head", {}),
        ("full", {}),
    ],
)
def test_other_methods_train_and_are_read_back(
    make_settings, data: dict[str, str], tmp_path: Path, method: str, options: dict
) -> None:
    lr = 1e-3 if method == "full" else 1e-2
    result = train(
        make_settings(
            "text-classification", tmp_path / method, method=method, options=options, lr=lr, epochs=2
        )
    )
    assert result.trained_head == 66
    assert (result.trained == 0) == (method == "head")
    again = evaluate(result.output, data=data["held_out"])
    assert again.metrics == pytest.approx(final(result), rel=1e-5)
    if method == "full":
        assert result.trained > 10_000
        assert (tmp_path / method / "tokenizer.json").is_file()


def test_the_same_settings_give_the_same_weights(make_settings, tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        train(make_settings("causal-lm", tmp_path / name, epochs=1))
        files.append((tmp_path / name / "adapter_model.safetensors").read_bytes())
    assert files[0] == files[1]


def test_the_best_evaluation_is_kept(make_settings, data: dict[str, str], tmp_path: Path) -> None:
    result = train(
        make_settings("causal-lm", tmp_path / "wild", lr=3.0, schedule="constant", max_steps=8, eval_every=2)
    )
    losses = {row["step"]: row["eval_loss"] for row in result.history if row["step"]}
    assert len(set(losses.values())) > 1
    assert result.metrics["loss"] == pytest.approx(min(losses.values()), rel=1e-6)
    assert result.best_step == min(losses, key=losses.__getitem__)


def test_early_stopping_stops(make_settings, tmp_path: Path) -> None:
    result = train(
        make_settings("causal-lm", tmp_path / "a", lr=0.0, max_steps=30, eval_every=2, early_stopping=2)
    )
    assert result.steps == 6


def test_without_evaluation_data_nothing_is_evaluated(make_settings, tmp_path: Path) -> None:
    result = train(make_settings("causal-lm", tmp_path / "a", eval_data=None, eval_fraction=0, max_steps=2))
    assert set(result.metrics) == {"train_loss"}
    assert result.history == []


def test_a_share_of_the_training_data_is_held_out(make_settings, tmp_path: Path) -> None:
    settings = make_settings(
        "text-classification", tmp_path / "a", eval_data=None, eval_fraction=0.25, max_steps=1
    )
    assert set(train(settings).metrics) >= METRICS


@pytest.mark.parametrize(
    ("dtype", "quantize"), [("bfloat16", None), ("float32", "4bit"), ("float32", "8bit")]
)
def test_small_bases(
    make_settings,
    bases: dict[str, str],
    data: dict[str, str],
    tmp_path: Path,
    dtype: str,
    quantize: str | None,
) -> None:
    settings = make_settings(
        "causal-lm", tmp_path / "a", model=bases["wide"], dtype=dtype, quantize=quantize, epochs=2
    )
    result = train(settings)
    losses = [row["eval_loss"] for row in result.history]
    assert losses[-1] < losses[0]
    again = evaluate(result.output, data=data["pairs"])
    assert again.metrics["loss"] == pytest.approx(result.metrics["loss"], rel=1e-5)
    with safe_open(tmp_path / "a" / "adapter_model.safetensors", "np") as file:
        assert {file.get_slice(key).get_dtype() for key in file.keys()} == {"F32"}  # noqa: SIM118


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"data": "nowhere.jsonl"}, DataError, "nowhere.jsonl"),
        ({"model": "./nowhere"}, ModelError, "nowhere"),
        ({"text_column": "body"}, DataError, "'body'"),
        ({"method": "lorra"}, ConfigError, "did you mean 'lora'"),
        ({"options": {"num_base": 1}}, ConfigError, "did you mean 'num_basis'"),
        ({"options": {"target_modules": ["qurey"]}}, TargetError, "did you mean 'query'"),
        ({"method": "head", "options": {"r": 1}}, ConfigError, "'r'"),
        ({"method": "adaption_prompt", "options": {}}, UnsupportedError, "new head"),
    ],
)
def test_what_cannot_be_trained_leaves_nothing_behind(
    make_settings, tmp_path: Path, changes: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train(make_settings("text-classification", tmp_path / "out", **changes))
    assert list(tmp_path.iterdir()) == []


def test_labels_and_outputs_are_checked(make_settings, classifier: TrainResult, tmp_path: Path) -> None:
    odd = tiny.write_jsonl(
        tmp_path / "odd.jsonl", [{"text": "the cat", "label": "animal"}, {"text": "a", "label": "tree"}]
    )
    with pytest.raises(DataError, match="'tree'"):
        train(make_settings("text-classification", tmp_path / "out", eval_data=odd))
    with pytest.raises(DataError, match="'tree'"):
        evaluate(classifier.output, data=odd)
    with pytest.raises(OutputExistsError, match="overwrite"):
        train(make_settings("text-classification", Path(classifier.output)))
    with pytest.raises(UnsupportedError, match="'head' for causal-lm"):
        train(make_settings("causal-lm", tmp_path / "out", method="head", options={}))
    assert not (tmp_path / "out").exists()


def test_methods_that_are_refused_say_why(make_settings, tmp_path: Path) -> None:
    for method, reason in UNSUPPORTED.items():
        with pytest.raises(UnsupportedError, match=reason.split(",")[0]):
            train(make_settings("causal-lm", tmp_path / "out", method=method))
