"""Writes README.md's table of methods and docs/methods.md's generated part from the registry:
`python tools/methods_table.py`."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from pathlib import Path
from typing import get_type_hints

from nolakit import methods
from nolakit.methods.base import Method
from nolakit.methods.site import ROLES, Factor, Site

ROOT = Path(__file__).parents[1]
START, END = "<!-- methods: start -->\n", "<!-- methods: end -->\n"
LLAMA_7B = [f"layers.{layer}.self_attn.{name}_proj" for layer in range(32) for name in "qv"]


def table() -> str:
    """README's: one row a registered method."""
    rows = ["| method | configuration | update to W | trained numbers | source |", "|---|---|---|---|---|"]
    for name in methods.names():
        method = methods.method_class(name)
        cells = (
            f"[{name}](docs/methods.md#{name})",
            f"`{method.__name__}Config`",
            method.update,
            method.trained,
        )
        rows.append(f"| {' | '.join(cells)} | {method.source} |")
    return "\n".join(rows) + "\n"


def reference() -> str:
    """docs/methods.md's: an overview and a section a method."""
    rows = [
        "| method | update is | LLaMA-2-7B q, v | r | lora_alpha | learning rate |",
        "|---|---|---|---|---|---|",
    ]
    sections = []
    for name in methods.names():
        method = methods.method_class(name)
        made = method()
        alpha = "r" if method.lora_alpha is None else str(method.lora_alpha)
        if method.use_rslora:
            alpha += ", over sqrt(r)"
        kind = {"linear": "linear", "quadratic": "quadratic", "other": "of higher degree"}[method.degree]
        kind += ", of full rank" if made.dense else ""
        rate = f"{method.learning_rate:g}"
        rows.append(f"| [{name}](#{name}) | {kind} | {trained_7b(made):,} | {method.r} | {alpha} | {rate} |")
        sections.append(section(name, method))
    return "\n".join(rows) + "\n\n" + "\n".join(sections)


def section(name: str, method: type[Method]) -> str:
    """One method: its module's text and its options."""
    text = inspect.cleandoc(sys.modules[method.__module__].__doc__ or "")
    lines = [f"### {name}", "", f"`{method.__name__}Config`, `--method {name}`.", "", *text.split("\n"), ""]
    hints = get_type_hints(method)
    options = dataclasses.fields(method)  # pyright: ignore[reportArgumentType] - subclasses are dataclasses
    if options:
        lines += ["| option | type | default | |", "|---|---|---|---|"]
        for one in options:
            hint = hints[one.name]
            kind = hint.__name__ if isinstance(hint, type) else str(hint)
            kind = kind.replace(" | ", " or ").replace("typing.", "")
            lines.append(f"| `{one.name}` | {kind} | `{one.default!r}` | {one.metadata['help']} |")
        lines.append("")
    lines += [f"Learning rate {method.learning_rate:g}: {method.learning_rate_source}.", ""]
    return "\n".join(lines)


def trained_7b(method: Method) -> int:
    """Trained numbers of the method's defaults on q and v of LLaMA-2-7B."""
    sites = [Site(path, (method.r, 4096), (4096, method.r)) for path in LLAMA_7B]
    bound = method.bind(sites)
    return sum(bound.count(Factor(role, site)) for site in sites for role in ROLES)


def with_generated(text: str, generated: str) -> str:
    """A page's text with what is between its two marks made anew."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return before + START + generated + END + after


PAGES = {ROOT / "README.md": table, ROOT / "docs" / "methods.md": reference}

if __name__ == "__main__":
    for path, make in PAGES.items():
        path.write_text(with_generated(path.read_text(encoding="utf-8"), make()), encoding="utf-8")
