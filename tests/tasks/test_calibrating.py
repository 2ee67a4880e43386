"""Methods that measure before they train do so by themselves, once, on rows from all of the data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import TrainerCallback

from nolakit.errors import ConfigError
from nolakit.tasks import calibrating, count, train
from nolakit.tasks.reporting import Reports

LORA_SB = {"method": "lora_sb", "options": {"r": 4}, "lr": 1e-2}
NORA = {"method": "nora", "options": {"r": 8, "inner_rank": 2, "activation_aware": "true"}, "lr": 3e-2}


class Interrupt(TrainerCallback):
    def on_step_begin(self, args, state, control, **kwargs) -> None:
        if state.global_step == 5:
            raise KeyboardInterrupt


@pytest.fixture
def calibrated(monkeypatch) -> list[list[dict]]:
    """The batches of each calibration, in the order of the runs."""
    seen = []
    calibrate = calibrating.calibrate

    def noting(model, batches):
        seen.append(list(batches))
        calibrate(model, seen[-1])

    monkeypatch.setattr(calibrating, "calibrate", noting)
    return seen


@pytest.mark.parametrize("changes", [LORA_SB, NORA], ids=["lora_sb", "nora"])
def test_a_resumed_run_is_not_calibrated_again(
    changes, bases, make_settings, calibrated, tmp_path: Path
) -> None:
    def make(name: str, **more):
        return make_settings("causal-lm", tmp_path / name, max_steps=8, eval_every=4, **changes, **more)

    with pytest.raises(KeyboardInterrupt):
        train(make("run"), callbacks=[Interrupt()])
    train(make("run", resume=True))
    assert len(calibrated) == 1
    result = train(make("whole"))
    assert len(calibrated) == 2 and result.history[-1]["eval_loss"] < result.history[0]["eval_loss"]
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    (row,) = count(
        bases["llama"], methods=[changes["method"]], options={changes["method"]: changes["options"]}
    )
    assert (row.trained, row.file_bytes) == (result.trained, result.adapter_bytes)
    checked = json.loads((tmp_path / "run" / "adapter_config.json").read_text()).get("frozen_check")
    assert bool(checked) == (changes is NORA)


@pytest.mark.parametrize(
    "task, rows", [("causal-lm", 5), ("text-classification", 5), ("image-classification", 3)]
)
def test_rows_come_from_all_of_the_data_one_at_a_time(
    task, rows, make_settings, calibrated, tmp_path: Path
) -> None:
    told = []
    reports = Reports(Told(told))
    settings = make_settings(task, tmp_path / "run", max_steps=1, calibration_rows=rows, **LORA_SB)
    train(settings, callbacks=[reports])
    (batches,) = calibrated
    assert [len(batch["labels"]) for batch in batches] == [1] * rows
    if task != "causal-lm":
        assert len({int(batch["labels"]) for batch in batches}) > 1
    assert told == [(done, rows) for done in range(1, rows + 1)]


def test_methods_that_need_nothing_are_not_calibrated(make_settings, calibrated, tmp_path: Path) -> None:
    for changes in ({}, {"method": "lora", "options": {"r": 2}}, {"method": "full", "options": {}}):
        train(make_settings("causal-lm", tmp_path / changes.get("method", "nola"), max_steps=1, **changes))
    assert calibrated == []


def test_more_rows_than_there_are_is_all_of_them(make_settings, calibrated, tmp_path: Path) -> None:
    train(make_settings("causal-lm", tmp_path / "run", max_steps=1, calibration_rows=10**6, **LORA_SB))
    assert 8 < len(calibrated[0]) < 10**4
    with pytest.raises(ConfigError, match="calibration_rows=0"):
        make_settings("causal-lm", tmp_path / "run", calibration_rows=0)


class Told:
    """A reporter that only listens to calibration."""

    def __init__(self, told: list[tuple[int, int]]) -> None:
        self.measured = lambda done, rows: told.append((done, rows))

    def __getattr__(self, name: str):
        return lambda *args: None
