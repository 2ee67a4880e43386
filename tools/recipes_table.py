"""Writes the tables of docs/recipes.md from the recipes: `python tools/recipes_table.py`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nolakit.bench.recipes import all_recipes
from nolakit.bench.recipes.recipe import Recipe

PAGE = Path(__file__).parents[1] / "docs" / "recipes.md"
START, END = "<!-- recipes: start -->\n", "<!-- recipes: end -->\n"


def tables() -> str:
    """Every set-up with its variants, then every recipe that has a published figure, then where runs differ."""
    recipes = list(all_recipes().values())
    setups: dict[str, list[Recipe]] = {}
    for one in recipes:
        setups.setdefault(one.setup, []).append(one)
    lines = ["| set-up | variants | base | data |", "|---|---|---|---|"]
    for setup, own in setups.items():
        names = ", ".join(one.variant for one in own)
        data = f"`{own[0].data}`" if own[0].data else f"given: {own[0].data_note}"
        lines.append(f"| {setup} | {names} | `{own[0].model}` | {data} |")
    lines += ["", "| recipe | trained numbers, published | published |", "|---|---|---|"]
    lines += [
        f"| {one.name} | {one.published_numbers:,} | {figures(one)} |" for one in recipes if one.expected
    ]
    lines += ["", "Where a run differs from the paper's:", ""]
    lines += [f"- {one}: {', '.join(names)}" for one, names in deviations(recipes).items()]
    return "\n".join(lines) + "\n"


def figures(recipe: Recipe) -> str:
    """Metrics and published figures."""
    return ", ".join(f"{metric} {figure:g}" for metric, figure in recipe.expected.items())


def deviations(recipes: Iterable[Recipe]) -> dict[str, list[str]]:
    """What differs, and for which family and variants; sizes and data sets are left out."""
    found: dict[str, list[str]] = {}
    for one in recipes:
        family = one.setup.partition("-")[0] + "-*"
        for text in one.deviations:
            names = found.setdefault(text, [])
            if family not in names:
                names.append(family)
    return found


def written(page: str) -> str:
    """The page with its tables made again."""
    before, rest = page.split(START)
    return before + START + tables() + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
