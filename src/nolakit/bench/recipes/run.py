"""Run a recipe: train each of its runs, measure it, and put what was found beside what was published."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from nolakit.adapter.writing import check_free, new_file
from nolakit.bench.recipes.architectures import ARCHITECTURES, fresh
from nolakit.bench.recipes.preparing import prepare
from nolakit.bench.recipes.recipe import Recipe
from nolakit.bench.recipes.scoring import score
from nolakit.errors import DataError
from nolakit.tasks import train
from nolakit.tasks.record import versions

RESULT = "recipe.json"


def run_recipe(
    recipe: Recipe,
    output: str | Path,
    *,
    model: str | Path | None = None,
    data: str | Path | None = None,
    seeds: Sequence[tuple[int, int]] | None = None,
    overrides: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
) -> dict[str, Any]:
    """Train and measure every run of a recipe through `nolakit.tasks`.

    The folder holds an adapter a run, `sample-0-seed-0` and so on, and `recipe.json`, the row that is returned. A run
    whose adapter is there from an earlier call is not trained again.

    Args:
        recipe: see `nolakit.bench.recipes`.
        output: folder for adapters and result.
        model: the base, in place of the recipe's: a folder or an id.
        data: the data, likewise.
        seeds: pairs of (sample, seed) to run, in place of the recipe's.
        overrides: fields of `TrainSettings` in place of the recipe's; "options" and "evaluation" are merged.
        overwrite: run again where a result is there.
        callbacks: the Trainer's, such as a progress bar.

    Returns:
        The settings, `runs` with trained numbers, bytes, seconds and metrics of each, their `metrics` (means) and `std`
        (of a sample, where there are several runs), and `published` beside `difference`, found less published.

    Raises:
        DataError: no data named, or data that cannot be used.
        OutputExistsError: a result is there.
        ModelError, TargetError, ConfigError, UnsupportedError: what cannot be trained or measured.
    """
    folder = Path(output)
    if not overwrite:
        check_free(folder / RESULT)
    recipe = recipe.changed(overrides or {})
    source = str(data or recipe.data)
    if not source:
        raise DataError(
            f"found no data for {recipe.name!r}, which no hub has as it is; give {recipe.data_note}"
        )
    base = str(model or recipe.model)
    if base in ARCHITECTURES:
        base = fresh(base, folder / base)
    runs = [
        _run(recipe, folder, base, source, sample, seed, overwrite, callbacks)
        for sample, seed in seeds or recipe.runs
    ]
    row = _row(recipe, base, source, runs)
    with new_file(folder / RESULT, overwrite=overwrite) as file:
        file.write_text(json.dumps(row, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return row


def _run(
    recipe: Recipe,
    folder: Path,
    base: str,
    source: str,
    sample: int,
    seed: int,
    overwrite: bool,
    callbacks: Sequence[TrainerCallback],
) -> dict[str, Any]:
    prepared = prepare(recipe, source, base, folder / f"rows-{sample}", sample, overwrite=overwrite)
    adapter = folder / f"sample-{sample}-seed-{seed}"
    settings = recipe.training(base, prepared.train, str(adapter), seed=seed)
    settings.overwrite, settings.resume = overwrite, not overwrite
    trained = train(settings, callbacks=callbacks)
    learnt = {name: trained.metrics[name] for name in ("train_loss", "loss") if name in trained.metrics}
    return {
        "sample": sample,
        "seed": seed,
        "trained": trained.trained,
        "trained_head": trained.trained_head,
        "adapter_bytes": trained.adapter_bytes,
        "steps": trained.steps,
        "seconds": trained.seconds,
        "metrics": {**learnt, **score(recipe, adapter, prepared)},
    }


def _row(recipe: Recipe, base: str, source: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    columns = {name: [run["metrics"][name] for run in runs] for name in runs[0]["metrics"]}
    means = {name: statistics.fmean(values) for name, values in columns.items()}
    several = len(runs) > 1
    return {
        "recipe": recipe.name,
        "paper": recipe.paper,
        "model": base,
        "data": source,
        "method": recipe.method,
        "options": dict(recipe.options),
        "settings": dict(recipe.settings),
        "evaluation": dict(recipe.evaluation),
        **{name: runs[0][name] for name in ("trained", "trained_head", "adapter_bytes")},
        "published_numbers": recipe.published_numbers,
        "metrics": means,
        "std": {name: statistics.stdev(values) for name, values in columns.items()} if several else {},
        "published": dict(recipe.expected),
        "difference": {
            name: means[name] - figure for name, figure in recipe.expected.items() if name in means
        },
        "deviations": list(recipe.deviations),
        "runs": runs,
        "versions": versions(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }
