"""The papers' own set-ups: one file a set-up, one row a recipe, one runner for all (`run.run_recipe`)."""

from __future__ import annotations

from importlib import import_module

from nolakit.bench.recipes.recipe import Recipe
from nolakit.errors import ConfigError
from nolakit.tasks.nearest import nearest

SETUPS = ("gpt2", "llama2", "vit", "roberta", "resnet20")


def all_recipes() -> dict[str, Recipe]:
    """Every recipe by its name."""
    rows = [one for setup in SETUPS for one in import_module(f"{__name__}.{setup}").recipes()]
    return {one.name: one for one in rows}


def find_recipe(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        ConfigError: there is none.
    """
    known = all_recipes()
    if name not in known:
        raise ConfigError(f"found no recipe {name!r}; {nearest(name, list(known))}")
    return known[name]
