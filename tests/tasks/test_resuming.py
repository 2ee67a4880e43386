"""Interrupted runs go on as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import TrainerCallback

from nolakit.errors import ConfigError, OutputExistsError
from nolakit.tasks import train


class InterruptAt(TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.fixture
def interrupted(make_settings, tmp_path: Path):
    """Settings of a run of 12 steps that was interrupted after its 7th, with a checkpoint at the 6th."""

    def make(**changes):
        return make_settings("causal-lm", tmp_path / "run", max_steps=12, eval_every=3, **changes)

    with pytest.raises(KeyboardInterrupt):
        train(make(), callbacks=[InterruptAt(7)])
    return make


def test_a_resumed_run_ends_as_an_uninterrupted_one(interrupted, make_settings, tmp_path: Path) -> None:
    assert not (tmp_path / "run").exists()
    assert (tmp_path / "run.checkpoints" / "checkpoint-6").is_dir()
    result = train(interrupted(resume=True), callbacks=[InterruptAt(0)])  # step 0 is not done again
    whole = train(make_settings("causal-lm", tmp_path / "whole", max_steps=12, eval_every=3))
    weights = [(tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("run", "whole")]
    assert weights[0] == weights[1]
    assert result.metrics["loss"] == whole.metrics["loss"]
    assert not (tmp_path / "run.checkpoints").exists()


def test_checkpoints_are_not_thrown_away_unasked(interrupted, tmp_path: Path) -> None:
    with pytest.raises(OutputExistsError, match="--resume"):
        train(interrupted())
    with pytest.raises(ConfigError, match=r"lr=0\.5"):
        train(interrupted(resume=True, lr=0.5))
    assert (tmp_path / "run.checkpoints" / "checkpoint-6").is_dir()
    assert train(interrupted(overwrite=True)).steps == 12


def test_a_finished_run_is_not_trained_again(make_settings, tmp_path: Path) -> None:
    first = train(make_settings("causal-lm", tmp_path / "run", max_steps=2))
    stamp = (tmp_path / "run" / "training.json").stat().st_mtime_ns
    again = train(
        make_settings("causal-lm", tmp_path / "run", max_steps=2, resume=True), callbacks=[InterruptAt(0)]
    )
    assert again.metrics == first.metrics
    assert (tmp_path / "run" / "training.json").stat().st_mtime_ns == stamp
    with pytest.raises(ConfigError, match="max_steps=4"):
        train(make_settings("causal-lm", tmp_path / "run", max_steps=4, resume=True))


def test_kept_checkpoints_can_be_trained_further(make_settings, tmp_path: Path) -> None:
    def make(**changes):
        return make_settings("causal-lm", tmp_path / "run", eval_every=2, schedule="constant", **changes)

    train(make(max_steps=4, keep_checkpoints=True))
    result = train(make(max_steps=6, resume=True), callbacks=[InterruptAt(0)])
    assert result.steps == 6
    assert not (tmp_path / "run.checkpoints").exists()


def test_a_run_without_checkpoints_leaves_nothing(make_settings, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(make_settings("causal-lm", tmp_path / "run"), callbacks=[InterruptAt(1)])
    assert list(tmp_path.iterdir()) == []
    resumed = train(make_settings("causal-lm", tmp_path / "run", max_steps=1, resume=True))
    assert resumed.steps == 1
