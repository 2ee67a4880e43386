"""Budgets from the command line's side: counted without weights, measured on training data, resumed."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import TrainerCallback

from nolakit import inspect
from nolakit.tasks import count, train

LLAMA_7B = Path(__file__).parents[1] / "data" / "llama-2-7b.json"


class InterruptAt(TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("method", ["nola", "vera"])
def test_a_budget_is_what_is_trained(method) -> None:
    (row,) = count(LLAMA_7B, methods=[method], options={method: {"budget": 100_000}})
    assert row.trained == 100_000 and row.modules == 7 * 32


def test_a_budget_by_gradient_is_measured_on_the_training_data(make_settings, tmp_path: Path) -> None:
    def make(name, **changes):
        options = {"r": "2", "budget": "400", "budget_by": "gradient"}
        return make_settings(
            "causal-lm", tmp_path / name, options=options, max_steps=4, eval_every=2, **changes
        )

    result = train(make("whole"))
    found = inspect(result.output)
    assert result.trained == found.trained == 400
    assert max(found.settings["budget_weights"]) == 999
    counts = [row.trained for row in found.modules]
    assert counts[found.settings["budget_weights"].index(999)] == max(counts) > 400 / len(counts)
    with pytest.raises(KeyboardInterrupt):
        train(make("cut"), callbacks=[InterruptAt(3)])
    again = train(make("cut", resume=True))
    files = [Path(one.output, "adapter_model.safetensors").read_bytes() for one in (result, again)]
    assert files[0] == files[1]
