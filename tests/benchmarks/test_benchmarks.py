"""The benchmark's machinery: rounds, ratios, the check that comes first, and the document."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def modules(monkeypatch):
    """The benchmark's own modules, imported as its script imports them."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    for name in ("interleaved", "report", "work", "operations"):
        sys.modules.pop(name, None)


def test_candidates_run_in_turn(modules):
    from interleaved import Timing, interleaved

    calls = []
    timings = interleaved({name: lambda n=name: calls.append(n) for name in "ab"}, rounds=3, warm_up=1)
    assert calls == list("abababab")
    assert [len(timing.seconds) for timing in timings.values()] == [3, 3]
    assert Timing([2.0, 6.0, 9.0]).ratio_to(Timing([1.0, 2.0, 9.0])) == 2.0


def test_operations_agree_with_the_reference(modules):
    from operations import works

    listed = list(works())
    assert len(listed) == 5
    for work in listed[-1:]:
        work.check()
        assert work.against in work.candidates and next(iter(work.candidates)) == "nolakit"


def test_document_has_the_newest_row_of_each_work(modules, tmp_path, monkeypatch):
    import report

    monkeypatch.setattr(report, "DOCUMENT", tmp_path / "performance.md")
    row = {
        "work": "sum", "against": "peer", "ratio": 0.5, "target": 1.0, "target_seconds": None, "amount": 2e9,
        "seconds": {"nolakit": [0.5, 0.5, 1.0], "peer": [1.0, 1.0, 2.0]}, "device": "a processor",
        "versions": {"torch": "1"},
    }  # fmt: skip
    newer = row | {"ratio": 0.25, "target": None, "target_seconds": 0.2, "amount": 0}
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(each) + "\n" for each in (row, newer, row | {"work": "other"})))
    report.write_report(rows)
    written = report.DOCUMENT.read_text()
    assert "| sum | 500 ms (500 to 1e+03) | 1 s (1 to 2) | 0.250 | 0.2 s |  |" in written
    assert "| other | 500 ms (500 to 1e+03) | 1 s (1 to 2) | 0.500 | 1.000 | 4.0 G |" in written
    assert "a processor; torch 1" in written


def test_committed_document_is_made_from_the_committed_rows(modules, tmp_path, monkeypatch):
    import report

    committed = report.DOCUMENT.read_text(encoding="utf-8")
    monkeypatch.setattr(report, "DOCUMENT", tmp_path / "performance.md")
    report.write_report(FOLDER / "results.jsonl")
    assert report.DOCUMENT.read_text(encoding="utf-8") == committed
