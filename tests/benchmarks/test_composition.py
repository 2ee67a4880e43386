"""The comparison of compositions: how a learning rate is chosen, what counts as beaten, that runs resume."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import tiny

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def modules(monkeypatch):
    """The benchmark's own modules, imported as its script imports them."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    for file in FOLDER.glob("*.py"):
        sys.modules.pop(file.stem, None)


@pytest.mark.parametrize("best", [-7.5, -5.0, -3.5, -3.0, 0.0])
def test_the_grid_grows_to_the_best_rate(modules, best):
    from composition import best_exponent

    tried = []
    assert best_exponent(lambda each: (tried.append(each), abs(each - best))[1]) == best
    assert len(tried) == len(set(tried)) <= 11


def row(method, split, lr, seed, loss, parents=()):
    return {
        "method": method, "split": split, "lr": lr, "seed": seed, "loss": loss, "parents": list(parents),
        "text": method.upper(), "trained": 9, "bytes": 99, "task": "a task", "torch": "2", "peft": "0",
    }  # fmt: skip


def test_the_document(modules, tmp_path):
    from composition_report import best_rate, test_losses, write_report

    rows = []
    for method, loss, parents in (
        ("nola r4", 3.0, ()), ("nola r16", 2.0, ()), ("vera", 2.5, ()),
        ("nola over vera", 1.9, ("vera", "nola r4", "nola r16")), ("nola by size", 2.1, ("nola r4", "nola r16")),
    ):  # fmt: skip
        rows.append(row(method, "validation", 0.1, 0, loss, parents))
        rows.append(row(method, "validation", 1.0, 0, None, parents))
        rows += [row(method, "test", 0.1, seed, loss + 0.01 * seed, parents) for seed in (1, 2)]
    rows.append(row("nola r16", "test", 1.0, 1, 0.1))  # of a rate that is not the best
    assert best_rate(rows, "vera") == 0.1
    assert test_losses(rows)["nola r16"] == {1: 2.01, 2: 2.02}
    write_report(rows, tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "| VERA | 9 | 99 | 0.1 | 2.515 ± 0.007 |" in text
    assert "yes (vera: +0.600), yes (nola r16: +0.100)" in text and "no (nola r16: -0.100)" in text
    assert "Of 1 compositions of two methods 1 beat both parents: NOLA OVER VERA." in text


def test_a_run_trains_every_candidate_and_resumes(modules, tmp_path, monkeypatch):
    import composition
    import composition_task
    from composition_methods import CANDIDATES

    base = Path(tiny.llama(tmp_path / "base"))
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "validation", "test"):
        tiny.write_jsonl(data / f"{split}.jsonl", tiny.paired_rows())
    monkeypatch.setattr(composition_task, "STEPS", 2)
    monkeypatch.setattr(composition_task, "WARM_UP", 1)
    monkeypatch.setattr(composition_task, "ROWS", {"train": 16, "validation": 4, "test": 4})
    task = composition_task.Task(base, data)
    path = tmp_path / "rows.jsonl"
    experiment = composition.Experiment(task, path)
    first = experiment.row(CANDIDATES[0], -3.0, 1, "test")
    lines = path.read_text().splitlines()
    assert json.loads(lines[0]) == first and first["trained"] > 0 and first["bytes"] > 4 * first["trained"]
    again = composition.Experiment(task, path)
    assert again.row(CANDIDATES[0], -3.0, 1, "test") == first and path.read_text().splitlines() == lines
