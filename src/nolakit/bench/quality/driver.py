"""Runs a plan: each run in a process of its own, several at a time, every result a row at once."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import astuple, dataclass
from itertools import groupby
from typing import Any

from nolakit.bench.quality.candidate import Candidate
from nolakit.bench.quality.results import Results
from nolakit.bench.quality.summary import standing
from nolakit.bench.quality.sweep import best_rate, first_rates
from nolakit.bench.quality.task import Places, Row, Task
from nolakit.bench.quality.training import Job, run
from nolakit.tasks.record import versions

SWEEP_SEED = 0
SEEDS = (1, 2, 3)

Chain = tuple[Task, tuple[Candidate, ...]]


@dataclass
class Benchmark:
    """What is run and where its rows go.

    Args:
        places: of bases and data.
        results: rows that there are, and new ones.
        small: the small form of each task.
        seeds: of the test split; the learning rate is chosen with another one.
        workers: processes at once, of one thread each.
        report: called after each run with its row; of new rows alone.
        step: called when a candidate is done on a task.
    """

    places: Places
    results: Results
    small: bool = False
    seeds: Sequence[int] = SEEDS
    workers: int = 1
    report: Callable[[Row], None] = lambda row: None
    step: Callable[[], None] = lambda: None

    def run(self, tasks: Sequence[Task], candidates: Sequence[Candidate]) -> None:
        """Every candidate on every task. Candidates of one family are run one after the other, since each search for a
        learning rate starts where the last one ended.

        Raises:
            DataError, ModelError: a task's files are not there.
        """
        chains = plan(tasks, candidates)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["nolakit.bench.quality.training"])
        stop = threading.Event()
        with (
            ProcessPoolExecutor(self.workers, mp_context=context, max_tasks_per_child=1) as processes,
            ThreadPoolExecutor(self.workers) as threads,
        ):
            waiting = [threads.submit(self._chain, chain, processes, stop) for chain in chains]
            try:
                for future in as_completed(waiting):
                    future.result()
            except BaseException:
                stop.set()
                for future in waiting:
                    future.cancel()
                raise

    def _chain(self, chain: Chain, processes: Executor, stop: threading.Event) -> None:
        task, candidates = chain
        last: int | None = None
        for candidate in candidates:
            last = self._candidate(task, candidate, last, processes, stop)
            self.step()

    def _candidate(
        self, task: Task, candidate: Candidate, last: int | None, processes: Executor, stop: threading.Event
    ) -> int | None:
        """The exponent of the best learning rate; None where the method refuses the base."""

        def row(exponent: int, seed: int, split: str) -> Row:
            if stop.is_set():
                raise KeyboardInterrupt
            job = Job(task.name, candidate.name, exponent, seed, split, task.size(self.small), self.places)
            return self._row(job, task, candidate, processes)

        def value(exponent: int) -> tuple[float, ...]:
            return standing(task, row(exponent, SWEEP_SEED, "validation"))

        first = first_rates(task.rates, candidate.rate, last)
        if "refused" in row(first[0], SWEEP_SEED, "validation"):
            return last
        best = best_rate(value, first)
        for seed in self.seeds:
            row(best, seed, "test")
        return best

    def _row(self, job: Job, task: Task, candidate: Candidate, processes: Executor) -> Row:
        key: dict[str, Any] = {
            "task": job.task, "form": "small" if self.small else "full", "size": astuple(job.size),
            "candidate": job.candidate, "settings": candidate.settings, "lr": job.lr,
            "head_lr": task.head_lr, "seed": job.seed, "split": job.split,
        }  # fmt: skip
        found = self.results.find(key)
        if found is None:
            found = {
                **key,
                "family": candidate.family,
                **processes.submit(run, job).result(),
                "versions": versions(),
            }
            self.results.add(found)
            self.report(found)
        return found


def plan(tasks: Sequence[Task], candidates: Sequence[Candidate]) -> list[Chain]:
    """The families of each task, tasks in turn."""
    chains = []
    for task in tasks:
        ordered = sorted(candidates, key=lambda each: each.family)  # stable: budgets stay in order
        families = {family: tuple(rows) for family, rows in groupby(ordered, key=lambda each: each.family)}
        chains += [(task, families[family]) for family in dict.fromkeys(each.family for each in candidates)]
    return chains
