"""The benchmark's real code path on random weights and a few rows."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import pytest

from bench.quality.tiny_places import tiny_places
from nolakit.bench.quality.candidates import CANDIDATES, GROUPS
from nolakit.bench.quality.driver import Benchmark, plan
from nolakit.bench.quality.results import Results
from nolakit.bench.quality.task import Places, Size
from nolakit.bench.quality.tasks import TASKS
from nolakit.bench.quality.training import Job, run
from nolakit.errors import DataError, ModelError

TINY = {
    "e2e-260k": Size(8, 4, 4, 3, 4), "digits-5": Size(2, 1, 2, 3, 8), "cifar100": Size(1, 1, 1, 2, 20),
    "trec6": Size(16, 8, 8, 2, 8),
}  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> Places:
    return tiny_places(tmp_path_factory.mktemp("quality"))


def tasks():
    return [dataclasses.replace(TASKS[name], small=size) for name, size in TINY.items()]


def test_runs_are_rows_and_are_not_done_again(places, tmp_path):
    results, new = Results(tmp_path / "rows.jsonl"), []
    names = ("NOLA k=16", "full fine-tuning")
    candidates = [CANDIDATES[name] for name in names]
    benchmark = Benchmark(places, results, small=True, seeds=(1, 2), workers=2, report=new.append)
    benchmark.run(tasks()[:2], candidates)
    assert new == results.rows
    for task in list(TINY)[:2]:
        for name in names:
            mine = [row for row in new if (row["task"], row["candidate"]) == (task, name)]
            tests = [row for row in mine if row["split"] == "test"]
            tried = [row for row in mine if row["split"] == "validation"]
            assert sorted(row["seed"] for row in tests) == [1, 2] and len(tried) >= 3
            assert {row["seed"] for row in tried} == {0} and tests[0]["lr"] in {row["lr"] for row in tried}
            assert all(row["bytes"] > 2 * row["trained"] for row in tests if name != "full fine-tuning")
            assert ("packed" in tests[0]) == (name == "NOLA k=16")
    packed = next(row["packed"] for row in new if "packed" in row)
    assert packed["8"]["bytes"] > packed["4"]["bytes"]
    assert any("bleu" in row.get("texts", {}) for row in new if row["task"] == "e2e-260k")
    again = []
    benchmark = Benchmark(places, Results(results.path), small=True, seeds=(1, 2), report=again.append)
    benchmark.run(tasks()[:2], candidates)
    assert again == []


def test_a_run_is_the_same_again_in_another_process(places, tmp_path):
    found = []
    for number in range(2):
        results = Results(tmp_path / f"{number}.jsonl")
        chosen = [CANDIDATES["NOLA k=4"]]
        Benchmark(places, results, small=True, seeds=(1,), workers=2).run(tasks()[2:], chosen)
        kept = ("candidate", "lr", "split", "loss", "accuracy", "train_loss", "bytes")
        found.append(sorted(json.dumps({name: row[name] for name in kept}) for row in results.rows))
    assert found[0] == found[1]


def test_a_run_that_diverged_is_a_row_without_a_metric(places):
    job = Job("e2e-260k", "NOLA k=16", 80, 1, "test", TINY["e2e-260k"], places)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")) as processes:
        row = processes.submit(run, job).result()
    assert row["loss"] is None and row["trained"] and row["bytes"] > 2 * row["trained"]
    assert "packed" not in row


ADAPT = """
import json, sys
from pathlib import Path
from nolakit.bench.quality.candidates import CANDIDATES
from nolakit.bench.quality.task import Places, Size
from nolakit.bench.quality.tasks import TASKS
from nolakit.bench.quality.variants import register_variants
from nolakit.errors import NolakitError
register_variants()
places, sizes = Places(Path(sys.argv[1]), Path(sys.argv[2])), json.loads(sys.argv[3])
refused = {}
for name, size in sizes.items():
    loaded = TASKS[name].load(places, Size(*size))
    for candidate in CANDIDATES.values():
        try:
            candidate.adapt(TASKS[name], loaded, 1)
        except NolakitError as error:
            refused.setdefault(candidate.name, {})[name] = str(error)
print(json.dumps(refused))
"""


def test_every_candidate_adapts_the_bases_that_it_can(places):
    sizes = {name: dataclasses.astuple(size) for name, size in TINY.items()}
    printed = subprocess.run(
        [sys.executable, "-c", ADAPT, str(places.bases), str(places.data), json.dumps(sizes)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    refused = json.loads(printed.splitlines()[-1])
    assert set().union(*refused.values()) == {"cifar100"}, refused
    linear_alone = {name for name in CANDIDATES if name.startswith("PEFT ")} - {"PEFT LoRA-FA r=1"}
    elsewhere = {row.name for row in CANDIDATES.values() if row.where != "all"}
    assert refused.keys() == linear_alone | elsewhere | {"MELoRA r=1 blocks=4", "PRoLoRA r=4 u=1"}


def test_what_is_not_there_is_named(places, tmp_path):
    results = Results(tmp_path / "rows.jsonl")
    chosen = [CANDIDATES["LoRA r=1"]]
    with pytest.raises(ModelError, match="found no folder 'keyword-transformer-1'"):
        Benchmark(Places(tmp_path, places.data), results, small=True).run(tasks()[1:2], chosen)
    with pytest.raises(DataError, match="found no folder 'spoken_digits'"):
        Benchmark(Places(places.bases, tmp_path), results, small=True).run(tasks()[1:2], chosen)
    assert results.rows == []


def test_families_run_in_turn_and_budgets_in_order():
    chains = plan([TASKS["sst2"]], [*CANDIDATES.values()])
    assert sum(len(candidates) for _, candidates in chains) == len(CANDIDATES)
    lora = next(candidates for _, candidates in chains if candidates[0].family == "LoRA")
    assert [each.name for each in lora] == ["LoRA r=1, query-value", *(f"LoRA r={r}" for r in (1, 2, 4, 8))]
    assert len({row.name for rows in GROUPS.values() for row in rows}) == len(CANDIDATES)
