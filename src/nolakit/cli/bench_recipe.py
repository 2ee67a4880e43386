"""`nolakit bench recipe`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from nolakit.cli.options import AsJson, Overwrite, read_settings
from nolakit.cli.output import note, print_facts, print_json, print_rows
from nolakit.errors import ConfigError

EXAMPLE = "Example: nolakit bench recipe gpt2-m-e2e-nola --data e2e -o e2e-nola"


def command(
    name: Annotated[str | None, typer.Argument(help="A recipe; none prints the table of all.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for adapters and recipe.json.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Base model in place of the recipe's: an id or a folder.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Data in place of the recipe's.")] = None,
    runs: Annotated[int | None, typer.Option(help="Only so many of the recipe's runs.", min=1)] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="key=value: a setting of training, options.key or evaluation.key, as JSON or text."
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Train and measure a paper's own set-up, and put the result beside the published figure."""
    from nolakit.bench.recipes import all_recipes, find_recipe

    if name is None:
        _print_table(list(all_recipes().values()), as_json)
        return
    recipe = find_recipe(name)
    if output is None:
        raise ConfigError("found no output; name the folder to write (-o)")
    note(f"{name}: loading {model or recipe.model} and {data or recipe.data or 'no data'}")
    from nolakit.bench.recipes.run import run_recipe
    from nolakit.cli.progress import Bars
    from nolakit.tasks.reporting import Reports

    row = run_recipe(
        recipe, output, model=model, data=data, seeds=recipe.runs[:runs], overrides=overrides(changes or []),
        overwrite=overwrite, callbacks=[Reports(Bars())],
    )  # fmt: skip
    if as_json:
        print_json(row)
        return
    for deviation in row["deviations"]:
        note(f"not as published: {deviation}")
    facts = {"trained numbers": row["trained"], "and of the head": row["trained_head"] or None}
    facts |= {"as published": row["published_numbers"], "bytes of weights": row["adapter_bytes"]}
    print_facts(f"{name}: {output}", facts)
    print_rows(["metric", "found", "std", "published"], [
        [metric, value, row["std"].get(metric), row["published"].get(metric)]
        for metric, value in row["metrics"].items()
    ])  # fmt: skip


def overrides(changes: list[str]) -> dict[str, Any]:
    """`key=value` options as what `run_recipe` takes. Raises ConfigError where there is no key."""
    found: dict[str, Any] = {}
    for key, text in read_settings(changes).items():
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        group, _, inner = key.rpartition(".")
        (found.setdefault(group, {}) if group else found)[inner] = value
    return found


def _print_table(recipes: list[Any], as_json: bool) -> None:
    if as_json:
        print_json([recipe.to_dict() for recipe in recipes])
        return
    print_rows(["recipe", "paper", "base", "data", "trained", "published"], [
        [
            one.name, one.paper, one.model, one.data or "given", one.published_numbers,
            ", ".join(f"{metric} {figure:g}" for metric, figure in one.expected.items()),
        ]
        for one in recipes
    ])  # fmt: skip
