"""A recipe's rows: which to train on, which to measure on, and the references of its texts."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from datasets import Dataset, DatasetDict

from nolakit.adapter.writing import new_folder
from nolakit.bench.recipes.recipe import Recipe
from nolakit.bench.recipes.shaping import SHAPES
from nolakit.errors import DataError
from nolakit.tasks.columns import Columns, find_columns
from nolakit.tasks.data import load_splits
from nolakit.tasks.labels import label_texts


@dataclass(frozen=True)
class Prepared:
    """What to train on, and the data and split to measure on; no split leaves the choice to the evaluation."""

    train: str
    test: str
    split: str | None


def prepare(
    recipe: Recipe, source: str, model: str, folder: Path, sample: int, *, overwrite: bool = False
) -> Prepared:
    """The rows of one run. What is made of the source is written to `folder`, or is there from an earlier run.

    Raises:
        DataError: data that cannot be read, lacks a column or has too few rows of a class.
    """
    split = recipe.evaluation.get("split")
    if recipe.shots is None and recipe.prepare is None:
        return Prepared(source, source, split)
    splits = load_splits(source)
    if recipe.prepare is not None:
        splits = {name: SHAPES[recipe.prepare](rows, model) for name, rows in splits.items()}
    test = str(folder)
    if recipe.shots is not None:
        train = splits.get("train") or next(iter(splits.values()))
        drawn = few_shot(_labels(recipe, train), recipe.shots, sample)
        if len(splits) > 1:  # the others are measured on as they are
            test, splits = source, {"train": train.select(drawn)}
        else:
            rest = sorted(set(range(len(train))) - set(drawn))
            if not rest:
                raise DataError(
                    f"found no row of {source!r} left to measure on; expected more than {recipe.shots} of each class, "
                    "or a test split"
                )
            splits = {"train": train.select(drawn), "test": train.select(rest)}
    if overwrite or not folder.exists():
        with new_folder(folder, overwrite=overwrite) as made:
            DatasetDict({**splits}).save_to_disk(str(made))
    return Prepared(str(folder), test, split)


def few_shot(labels: list[str], shots: int, sample: int) -> list[int]:
    """The rows of `shots` of each label, in their order: those whose SHA-256 of sample, label and row comes first.

    Raises:
        DataError: a label that has fewer rows.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for row, label in enumerate(labels):
        rows[label].append(row)
    drawn: list[int] = []
    for label, own in rows.items():
        if len(own) < shots:
            raise DataError(f"found {len(own)} rows of {label!r}; expected at least {shots}")
        drawn += sorted(
            own, key=lambda row, label=label: sha256(f"{sample}/{label}/{row}".encode()).digest()
        )[:shots]
    return sorted(drawn)


def references(recipe: Recipe, prepared: Prepared) -> tuple[list[str], list[list[str]]]:
    """The prompts to continue, each once, and all completions that its rows have.

    Raises:
        DataError: no such column.
    """
    splits = load_splits(prepared.test)
    known = [prepared.split, "test", "validation", *splits]
    rows = splits[next(name for name in known if name in splits)]
    settings = recipe.settings
    named = Columns(
        prompt_column=settings.get("prompt_column"), completion_column=settings.get("completion_column")
    )
    columns = find_columns(named, "causal-lm", rows.column_names)
    if columns.prompt_column is None or columns.completion_column is None:
        raise DataError(
            f"found the columns {', '.join(rows.column_names)}; expected a prompt and a completion to score texts"
        )
    grouped: dict[str, list[str]] = defaultdict(list)
    for prompt, text in zip(rows[columns.prompt_column], rows[columns.completion_column], strict=True):
        grouped[prompt].append(text)
    return list(grouped), list(grouped.values())


def _labels(recipe: Recipe, rows: Dataset) -> list[str]:
    named = Columns(recipe.settings.get("text_column"), recipe.settings.get("label_column"))
    column = find_columns(named, recipe.task, rows.column_names).label_column
    assert column is not None
    return label_texts(rows, column)
