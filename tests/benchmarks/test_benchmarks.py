"""The benchmark's machinery: rounds, ratios, the check that comes first, and the document."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def modules(monkeypatch):
    """The benchmark's own modules, imported as its script imports them."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    for file in FOLDER.glob("*.py"):
        sys.modules.pop(file.stem, None)


def test_candidates_run_in_turn(modules):
    from interleaved import Timing, interleaved

    calls = []
    timings = interleaved({name: lambda n=name: calls.append(n) for name in "ab"}, rounds=3, warm_up=1)
    assert calls == list("abababab")
    assert [len(timing.seconds) for timing in timings.values()] == [3, 3]
    assert Timing([2.0, 6.0, 9.0]).ratio_to(Timing([1.0, 2.0, 9.0])) == 2.0


def test_short_calls_are_repeated_and_the_first_is_not_counted(modules):
    from interleaved import interleaved

    calls = []
    found = interleaved({"a": lambda: (calls.append(1), time.sleep(0.01))}, rounds=2, warm_up=0, calls=3)
    assert len(calls) == 8
    assert all(0.01 <= seconds < 0.03 for seconds in found["a"].seconds)


def test_operations_agree_with_the_reference(modules):
    from operations import works

    for work in works():
        if "1 x" in work.name:
            work.check()
            assert next(iter(work.candidates)) == "nolakit" and set(work.targets) < set(work.candidates)


def test_a_step_trains_every_method_and_its_gradients_are_checked(modules, monkeypatch):
    from transformers import LlamaConfig, LlamaForCausalLM

    import training_models
    import training_step

    shape = LlamaConfig(
        vocab_size=8192, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    )
    base = replace(training_models.LLAMA, make=lambda: LlamaForCausalLM(shape))
    monkeypatch.setattr(training_step, "LENGTH", 8)
    work = training_step.step_work(base, "all-linear", training_models.METHODS, 2, 1, rounds=1)
    work.check()
    for name, step in work.candidates.items():
        step()
        assert work.trained[name] > 0
    matrices = 2 * (4 * 32 * 32 + 3 * 32 * 48) + 8192 * 32
    assert work.cost.multiply_adds == 2 * matrices * 2 * 8


def test_the_works_of_a_gpu_run_small_on_any_device(modules):
    from transformers import LlamaConfig

    import gpu

    llama = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2
    )
    shape = {"hidden": 16, "key_value": 8, "intermediate": 24, "layers": 2}
    works = list(gpu.works("cpu", llama, shape))
    assert len(works) == 3
    for work in works:
        work.check()
        for call in work.candidates.values():
            call()


def test_a_floor_is_the_largest_of_what_the_machine_takes(modules):
    from machine import Peaks, measured_peaks
    from work import Cost

    peaks = Peaks(multiply_adds=10, bytes=5, blocks=2)
    assert peaks.floor(Cost(multiply_adds=20, bytes=5, blocks=1)) == 2
    assert peaks.floor(Cost(bytes=20)) == 4
    assert all(rate > 1e6 for rate in measured_peaks().to_dict().values())


def row(work: str, **changes) -> dict:
    return {
        "work": work, "seconds": {"nolakit": [0.5, 0.5, 1.0], "peer": [1.0, 1.0, 2.0]}, "ratios": {"peer": 0.5},
        "targets": {"peer": 1.0}, "target_seconds": None, "floor": 0.25, "trained": {}, "curve": None,
        "device": "a processor", "versions": {"torch": "1"}, "peaks": None,
    } | changes  # fmt: skip


def test_document_has_the_newest_row_of_each_work(modules, tmp_path, monkeypatch):
    import report

    monkeypatch.setattr(report, "DOCUMENT", tmp_path / "performance.md")
    monkeypatch.setattr(report, "PLOT", tmp_path / "performance.svg")
    written = [
        row("sum"),
        row("sum", ratios={"peer": 0.25}, targets={}, target_seconds=0.2, trained={"nolakit": 8, "peer": 1000}),
        row("other", floor=None),
        row("sum", curve=["size", 1]),
        row("sum", curve=["size", 10], seconds={"nolakit": [5.0], "peer": [6.0]}),
        {
            "work": "step", "bytes": {"nolakit": [2**20, 3 * 2**20, 2**20], "peer": [2**21]}, "targets": {"peer": 1.0},
            "device": "a processor", "versions": {"torch": "1"},
        },
    ]  # fmt: skip
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(each) + "\n" for each in written))
    report.write_report(rows)
    text = report.DOCUMENT.read_text()
    peer = "peer (1,000 numbers, nolakit 8)"
    assert f"| sum | 500 ms (500 to 1e+03) | 250 ms | {peer} | 1 s (1 to 2) | 0.250 | 200 ms |" in text
    assert "| other | 500 ms (500 to 1e+03) |  | peer | 1 s (1 to 2) | 0.500 | 1.000 |" in text
    assert "|  | peer | 2 MiB (2 to 2) | 0.500 | 1.000 |" in text
    assert "a processor; torch 1" in text
    assert "<svg" in report.PLOT.read_text() and "size" in report.PLOT.read_text()


def test_committed_document_is_made_from_the_committed_rows(modules, tmp_path, monkeypatch):
    import report

    committed = report.DOCUMENT.read_text(encoding="utf-8")
    monkeypatch.setattr(report, "DOCUMENT", tmp_path / "performance.md")
    monkeypatch.setattr(report, "PLOT", tmp_path / "performance.svg")
    report.write_report(FOLDER / "results.jsonl")
    assert report.DOCUMENT.read_text(encoding="utf-8") == committed


@pytest.mark.parametrize("file", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_every_script_imports_what_there_is(modules, file):
    __import__(file)
