"""Each subcommand's result, in JSON and for people."""

from __future__ import annotations

from pathlib import Path

import pytest

from nolakit.cli.output import number
from nolakit.startup import startup_file
from shell import Place, run

CONFIGS = Path(__file__).parents[1] / "data"


def test_train(place: Place) -> None:
    found = place.trained["classifier"]
    assert set(found) == {
        "metrics", "trained", "trained_head", "adapter_bytes", "seconds", "output", "steps", "best_step", "truncated",
    }  # fmt: skip
    assert set(found["metrics"]) == {"loss", "accuracy", "macro_f1", "train_loss"}
    assert (found["trained"], found["trained_head"]) == (13 * 32, 66)
    assert set(place.trained["writer"]["metrics"]) == {"loss", "perplexity", "token_accuracy", "train_loss"}


def test_train_for_people(place: Place, tmp_path: Path) -> None:
    found = run(
        "train", "--model", place.llama, "--data", place.pairs, "--method", "lora", "--r", 2, "--max-steps", 4,
        "--eval-every", 2, "--target-modules", "q_proj,v_proj", "--set", "use_rslora=true", "--max-length", 5,
        "-o", tmp_path / "out",
    )  # fmt: skip
    assert found.code == 0, found.stderr
    assert "trained numbers" in found.stdout
    assert f"{2 * 2 * (32 + 32) + 2 * 2 * (32 + 16):,}" in found.stdout
    assert "step 2: loss" in found.stderr
    assert "--max-length" in found.stderr
    assert "step 2" not in found.stdout


def test_evaluate(place: Place) -> None:
    plain = run("evaluate", place.writer, "--data", place.pairs, "--json").json()
    merged = run("evaluate", place.writer, "--data", place.pairs, "--merged", "--json").json()
    assert set(plain) == {"metrics", "rows", "split", "task", "merged", "seconds"}
    assert merged["metrics"] == pytest.approx(plain["metrics"], rel=1e-4)
    assert (plain["merged"], merged["merged"]) == (False, True)
    shown = run("evaluate", place.writer, "--data", place.pairs).stdout
    assert number(plain["metrics"]["loss"]) in shown


def test_generate(place: Place, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("the red pear\nthe black cow\n")
    found = run(
        "generate", place.writer, "--prompts", tmp_path / "prompts.txt", "--max-new-tokens", 5, "--json"
    ).json()
    assert [row["prompt"] for row in found] == ["the red pear", "the black cow"]
    assert all(set(row) == {"prompt", "text", "tokens", "ended"} and row["tokens"] <= 5 for row in found)
    shown = run("generate", place.writer, "--prompt", "the red pear", "--max-new-tokens", 5)
    assert shown.stdout.strip().endswith(found[0]["text"].strip())


def test_inspect(place: Place) -> None:
    found = run("inspect", place.writer, "--json").json()
    assert (found["method"], found["seed"], found["trained"]) == ("nola", 0, 14 * 32)
    assert len(found["modules"]) == 14
    assert found["weights_bytes"] == (Path(place.writer) / "adapter_model.safetensors").stat().st_size
    shown = run("inspect", place.classifier).stdout
    assert "encoder.layer.0.attention.self.query" in shown
    assert "num_basis=16" in shown


def test_count() -> None:
    found = run(
        "count", CONFIGS / "llama-2-7b.json", "--method", "nola", "--method", "lora", "--num-basis", 128, "--lora-r", 1,
        "--json",
    ).json()  # fmt: skip
    assert [row["trained"] for row in found] == [57_344, 2_498_560]
    assert set(found[0]) == {"method", "settings", "trained", "file_bytes", "modules", "reason"}
    shown = run(
        "count", CONFIGS / "llama-2-7b.json", "--method", "nola", "--method", "boft", "--num-basis", 128
    )
    assert "57,344" in shown.stdout
    assert "boft: cannot be built without weights" in shown.stdout


def test_merge_and_evaluate_the_model(place: Place, tmp_path: Path) -> None:
    made = run("merge", place.classifier, "-o", tmp_path / "model", "--json").json()
    assert made == {
        "output": str(tmp_path / "model"),
        "bytes": (tmp_path / "model" / "model.safetensors").stat().st_size,
        "dtype": "float32",
    }
    before = run("evaluate", place.classifier, "--data", place.classified, "--json").json()
    after = run("evaluate", tmp_path / "model", "--data", place.classified, "--json").json()
    assert after["metrics"] == pytest.approx(before["metrics"], rel=1e-4)


def test_export_and_evaluate_the_lora(place: Place, tmp_path: Path) -> None:
    for adapter, data in ((place.classifier, place.classified), (place.writer, place.pairs)):
        folder = tmp_path / Path(adapter).name
        made = run("export", adapter, "--to", "lora", "-o", folder, "--json").json()
        assert made["bytes"] == (folder / "adapter_model.safetensors").stat().st_size
        before = run("evaluate", adapter, "--data", data, "--json").json()
        after = run("evaluate", folder, "--data", data, "--json").json()
        assert after["metrics"] == pytest.approx(before["metrics"], rel=1e-4)
        assert run("inspect", folder, "--json").json()["method"] == "lora"


def test_hook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("nolakit.startup.startup_file", lambda: tmp_path / startup_file().name)
    assert run("hook", "status", "--json").json()["installed"] is False
    assert run("hook", "install").code == 0
    assert run("hook", "status", "--json").json() == {
        "installed": True,
        "path": str(tmp_path / startup_file().name),
    }
    assert "removed" in run("hook", "remove").stdout
    assert "not installed" in run("hook", "remove").stdout
