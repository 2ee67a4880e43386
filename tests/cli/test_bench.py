import json

import pytest

from shell import run


def test_the_list_has_tasks_and_candidates():
    listed = run("bench", "quality", "--list", "--json").json()
    assert {task["name"] for task in listed["tasks"]} >= {"digits-10", "e2e-260k", "trec6", "cifar100"}
    assert {row["group"] for row in listed["candidates"]} == {"core", "methods", "ablations"}
    core = run("bench", "quality", "--list", "--json", "--group", "core", "--task", "sst2").json()
    assert [task["name"] for task in core["tasks"]] == ["sst2"]
    assert {row["group"] for row in core["candidates"]} == {"core"}


@pytest.mark.parametrize("option, value, known", [
    ("--task", "digit-10", "digits-10"), ("--candidate", "NOLA k=17", "NOLA k=16"), ("--group", "cor", "core"),
])  # fmt: skip
def test_an_unknown_name_is_a_usage_error_that_names_the_nearest(option, value, known):
    found = run("bench", "quality", option, value)
    assert found.code == 2 and repr(value) in found.stderr and known in found.stderr


def test_missing_bases_are_bad_input(tmp_path):
    found = run(
        "bench", "quality", "--bases", tmp_path, "--data", tmp_path, "--rows", tmp_path / "rows.jsonl", "--small",
        "--task", "e2e-260k", "--candidate", "LoRA r=1",
    )  # fmt: skip
    assert found.code == 3 and "llama-stories-260k" in found.stderr
    assert not (tmp_path / "rows.jsonl").exists()


def test_rows_that_cannot_be_read_are_bad_input(tmp_path):
    (tmp_path / "rows.jsonl").write_text("{}\n", encoding="utf-8")
    found = run("bench", "report", "--rows", tmp_path / "rows.jsonl", "-o", tmp_path / "quality.md")
    assert found.code == 3 and "line 1" in found.stderr


def test_a_report_is_written(tmp_path):
    row = {
        "task": "sst2", "form": "small", "size": [640, 200, 500, 40, 16], "candidate": "LoRA r=1", "settings": {},
        "lr": 0.01, "head_lr": 0.01, "family": "LoRA", "trained": 10, "head": 2, "bytes": 20,
        "accuracy": 0.5, "seconds": 1.0, "peak_bytes": 9, "versions": {},
    }  # fmt: skip
    lines = [row | {"seed": 0, "split": "validation"}, row | {"seed": 1, "split": "test"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    written = run(
        "bench", "report", "--rows", tmp_path / "rows.jsonl", "-o", tmp_path / "new" / "quality.md", "--json"
    ).json()
    made = [tmp_path / "new" / name for name in ("quality.md", "quality-sst2.svg")]
    assert written == {"written": [*map(str, made)]}
    assert "50.0 ± 0.0" in made[0].read_text(encoding="utf-8")
