"""What goes wrong, the code that a shell sees, and the words that a person reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tiny
from nolakit.cli.failures import ExitCode, exit_code, message
from nolakit.errors import ConfigError
from shell import Place, run


def train(place: Place, output: Path, *more: object) -> tuple[object, ...]:
    return (
        "train", "--task", "text-classification", "--model", place.bert, "--data", place.classified, "-o", output,
        "--max-steps", 1, *more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (("--data", "no/such/file.jsonl"), 3, ["no/such/file.jsonl"]),
        (("--eval-data", "none.csv"), 3, ["none.csv"]),
        (("--model", "./none"), 3, ["./none"]),
        (("--text-column", "body"), 3, ["'body'", "'text', 'label'"]),
        (("--label-column", "labels"), 3, ["'labels'", "did you mean 'label'?"]),
        (("--target-modules", "query,valu"), 2, ["'valu'", "did you mean 'value'"]),
        (("--method", "rand_lora"), 2, ["'rand_lora'", "'randlora'"]),
        (("--set", "num_basic=3"), 2, ["'num_basic'", "'num_basis'"]),
        (("--set", "use_dora=true"), 2, ["use_dora=True", "cannot hold"]),
        (("--set", "r"), 2, ["key=value"]),
        (("--set", "lora_dropout=much"), 2, ["lora_dropout='much'", "a number"]),
        (("--task", "translate"), 2, ["'translate'", "causal-lm"]),
        (("--batch-size", 0), 2, ["batch_size=0"]),
        (("--batch-size", "many"), 2, ["'--batch-size'", "valid integer"]),
        (("--frobnicate",), 2, ["frobnicate"]),
        (("--quantize", "3bit"), 2, ["'3bit'", "8bit"]),
    ],
)
def test_train_says_what_is_wrong(
    place: Place, tmp_path: Path, more: tuple[object, ...], code: int, words: list[str]
) -> None:
    found = run(*train(place, tmp_path / "out", *more))
    assert found.code == code, found.stderr
    assert found.stdout == ""
    assert "Traceback" not in found.stderr
    assert all(word in " ".join(found.stderr.split()) for word in words), found.stderr
    assert list(tmp_path.iterdir()) == []


def test_adapters_that_cannot_be_read(place: Place, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "none", tmp_path / "empty"):
        for command in (
            ("evaluate", folder, "--data", place.pairs),
            ("generate", folder, "--prompt", "the"),
            ("inspect", folder),
            ("merge", folder, "-o", tmp_path / "out"),
            ("export", folder, "-o", tmp_path / "out"),
        ):
            found = run(*command)
            assert found.code == ExitCode.BAD_INPUT, command
            assert "adapter_config.json" in found.stderr
    assert not (tmp_path / "out").exists()


def test_labels_and_empty_data(place: Place, tmp_path: Path) -> None:
    odd = tiny.write_jsonl(tmp_path / "odd.jsonl", [{"text": "the cat", "label": "tree"}])
    found = run("evaluate", place.classifier, "--data", odd)
    assert (found.code, "'tree'" in found.stderr) == (ExitCode.BAD_INPUT, True)
    (tmp_path / "empty.jsonl").write_text("")
    found = run("evaluate", place.classifier, "--data", tmp_path / "empty.jsonl")
    assert (found.code, "no rows" in found.stderr) == (ExitCode.BAD_INPUT, True)


def test_another_base(place: Place, tmp_path: Path) -> None:
    for command in (
        ("evaluate", place.writer, "--data", place.pairs, "--base", place.other_llama),
        ("generate", place.writer, "--prompt", "the", "--base", place.other_llama),
        ("merge", place.writer, "-o", tmp_path / "out", "--base", place.other_llama),
    ):
        found = run(*command)
        assert found.code == ExitCode.OTHER_BASE, found.stderr
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_exist(place: Place, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    for command in (
        train(place, tmp_path / "out"),
        ("merge", place.writer, "-o", tmp_path / "out"),
        ("export", place.writer, "-o", tmp_path / "out"),
    ):
        found = run(*command)
        assert found.code == ExitCode.OUTPUT_EXISTS
        assert "--overwrite" in found.stderr
    assert (tmp_path / "out" / "mine.txt").read_text() == "keep"
    assert run("export", place.writer, "-o", tmp_path / "out", "--overwrite").code == 0
    assert not (tmp_path / "out" / "mine.txt").exists()


def test_options_that_contradict(place: Place, tmp_path: Path) -> None:
    assert run("generate", place.writer).code == ExitCode.USAGE
    assert run("export", place.writer, "-o", tmp_path / "out", "--to", "onnx").code == ExitCode.USAGE
    assert run("merge", place.writer, "-o", tmp_path / "out", "--dtype", "int8").code == ExitCode.USAGE
    assert run("generate", place.classifier, "--prompt", "the").code == ExitCode.USAGE
    assert run("count", place.llama, "--method", "lorra").code == ExitCode.USAGE
    assert run("count", "./none.json").code == ExitCode.BAD_INPUT


def test_unexpected_errors_and_interrupts(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr("nolakit.adapter.inspect.inspect", fail)
    found = run("inspect", place.writer)
    assert found.code == ExitCode.UNEXPECTED
    assert "the disk is gone" in found.stderr
    assert "--debug" in found.stderr

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nolakit.adapter.inspect.inspect", interrupt)
    assert run("inspect", place.writer).code == ExitCode.INTERRUPTED


def test_every_error_of_the_package_has_a_code() -> None:
    assert exit_code(ConfigError("x")) == ExitCode.USAGE
    assert exit_code(ValueError("x")) == ExitCode.UNEXPECTED
    assert message(ConfigError("found x")) == "found x"
    assert json.dumps(ExitCode.OTHER_BASE) == "4"
