import math
from dataclasses import astuple

import pytest

from nolakit.bench.quality.answers import bits, fractions, fronts, fronts_of_numbers, shared
from nolakit.bench.quality.report import BEGIN, END, write_report
from nolakit.bench.quality.summary import front, matches, summaries
from nolakit.bench.quality.tasks import TASKS

DIGITS, E2E = TASKS["digits-10"], TASKS["e2e-260k"]
METRICS = {"LoRA r=1": 0.90, "NOLA k=4": 0.80, "NOLA k=16": 0.91, "NOLA k=16, own basis": 0.93}
NUMBERS = {"LoRA r=1": 13824, "NOLA k=4": 576, "NOLA k=16": 2304, "NOLA k=16, own basis": 2304}


def row(task, candidate, seed, split, value, lr=0.01, **more):
    return {
        "task": task.name, "form": "small", "size": [*astuple(task.small)], "candidate": candidate, "settings": {},
        "lr": lr, "head_lr": task.head_lr, "seed": seed, "split": split,
        "family": candidate.split(" ")[0] + ("," if "," in candidate else ""),
        "trained": NUMBERS.get(candidate, 10), "head": 650, "bytes": 2 * NUMBERS.get(candidate, 10), "bits": 16,
        task.metric: value, "seconds": 1.0, "peak_bytes": 10**9, "versions": {"nolakit": "0"}, **more,
    }  # fmt: skip


def rows(task=DIGITS):
    made = []
    for name, value in METRICS.items():
        value = value if task.higher else 1 - value
        worse = value - 0.1 if task.higher else value + 0.1
        made += [row(task, name, 0, "validation", value), row(task, name, 0, "validation", worse, lr=0.1)]
        made += [row(task, name, seed, "test", value + seed / 1000) for seed in (1, 2, 3)]
        made.append(row(task, name, 1, "test", 0.99 if task.higher else 0.0, lr=0.1))  # not the chosen rate
    for each in made:
        if each["candidate"] == "NOLA k=16" and each["split"] == "test":
            each["packed"] = {
                str(n): {"bytes": 600 * n, task.metric: each[task.metric] - n / 100} for n in (8, 4)
            }
    return made


@pytest.mark.parametrize("task", [DIGITS, E2E], ids=lambda task: task.metric)
def test_the_rate_is_the_validations_best_and_the_values_the_tests(task):
    found = {summary.name: summary for summary in summaries(rows(task), task, "small")}
    expected = METRICS["LoRA r=1"] if task.higher else 1 - METRICS["LoRA r=1"]
    assert found["LoRA r=1"].lr == 0.01
    assert found["LoRA r=1"].values == {seed: expected + seed / 1000 for seed in (1, 2, 3)}
    assert found["LoRA r=1"].deviation == pytest.approx(0.001)
    assert found["NOLA k=16, 8 bits"].bytes == 4800
    assert not summaries(rows(task), task, "full")


@pytest.mark.parametrize("other", [{"size": [9, 9, 9, 9, 9]}, {"head_lr": 0.5}])
def test_rows_of_a_task_as_it_was_do_not_count(other):
    old = [each | other for each in rows()]
    assert not summaries(old, DIGITS, "small")
    assert summaries(old + rows(), DIGITS, "small") == summaries(rows(), DIGITS, "small")


def test_of_equal_accuracies_the_least_loss_is_best_and_then_the_least_rate():
    losses = {0.001: 0.7, 0.01: 0.5, 0.1: 0.5}
    made = [row(DIGITS, "LoRA r=1", 0, "validation", 0.9, lr=lr, loss=loss) for lr, loss in losses.items()]
    made += [row(DIGITS, "LoRA r=1", 1, "test", 0.8, lr=lr) for lr in losses]
    for order in (made, made[::-1]):
        [found] = summaries(order, DIGITS, "small")
        assert found.lr == 0.01


@pytest.mark.parametrize("task", [DIGITS, E2E], ids=lambda task: task.metric)
def test_matching_and_the_front_know_which_way_is_better(task):
    found = {summary.name: summary for summary in summaries(rows(task), task, "small")}
    assert matches(task, found["NOLA k=16"], found["LoRA r=1"])
    assert not matches(task, found["NOLA k=4"], found["LoRA r=1"])
    unpacked = [s for name, s in found.items() if "bits" not in name]
    assert [s.name for s in front(task, unpacked)] == ["NOLA k=4", "NOLA k=16, own basis"]


def test_a_run_that_diverged_is_the_worst_of_all():
    broken = [row(DIGITS, "LoRA r=1", 0, "validation", None), row(DIGITS, "LoRA r=1", 1, "test", None)]
    [summary] = summaries(broken, DIGITS, "small")
    assert summary.mean == -math.inf
    assert front(DIGITS, [summary, *summaries(rows(), DIGITS, "small")])[-1].name == "NOLA k=16, own basis"


def test_the_answers_say_what_the_rows_say():
    found = {DIGITS: summaries(rows(), DIGITS, "small")}
    assert "| NOLA k=16 | 2,304 | 16.7% |" in fractions(found)
    assert (
        fronts(found)
        .splitlines()[2]
        .endswith("| none fits | NOLA k=16, own basis: 93.2 | NOLA k=16, own basis: 93.2 |")
    )
    assert "| none fits | none fits | NOLA k=16, own basis: 93.2 |" in fronts_of_numbers(found)
    assert "+2.0 ± 0.0" in shared(found)
    assert "| -8.0 ± 0.0 | -4.0 ± 0.0 |" in bits(found)


def test_a_report_keeps_what_stands_around_it_and_is_the_same_again(tmp_path):
    document = tmp_path / "quality.md"
    document.write_text(f"# Mine\n\nbefore\n\n{BEGIN}\noutdated\n{END}\n\nbehind\n", encoding="utf-8")
    written = write_report(rows() + rows(E2E), document)
    text = document.read_text(encoding="utf-8")
    assert text.startswith("# Mine\n\nbefore\n") and text.endswith("\n\nbehind\n") and "outdated" not in text
    assert "**NOLA k=16, own basis**" in text
    assert [path.name for path in written] == ["quality.md", "quality-digits-10.svg", "quality-e2e-260k.svg"]
    first = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in write_report(rows() + rows(E2E), document)] == first


def test_a_refusal_is_in_the_report(tmp_path):
    refused = row(DIGITS, "basis-conv r=4", 0, "validation", 0.0) | {"refused": "found no convolution"}
    write_report([*rows(), refused], tmp_path / "quality.md")
    assert "basis-conv r=4: refused. found no convolution" in (tmp_path / "quality.md").read_text(
        encoding="utf-8"
    )
