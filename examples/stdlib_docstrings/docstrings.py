"""Docstrings of the standard library, read from its sources: nothing is imported, nothing is downloaded.

What would give the answer away is taken out of every text: each name of the answer key (`email`, `asyncio`,
and ordinary words such as `string` where they are a module's name) and each part of the docstring's own
module path becomes "_"; doctest examples go as well. What is left is prose about what the code does.
"""

from __future__ import annotations

import ast
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chapters import CHAPTERS, top_level_names

SKIPPED_FOLDERS = frozenset({"test", "tests", "idle_test", "idlelib", "lib2to3", "site-packages"})
MIN_WORDS, MAX_WORDS = 6, 16  # after the names are taken out; the rest of a longer text is cut
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
WORD = re.compile(r"[A-Za-z_]\w*")
EXAMPLE = re.compile(r"^[ \t]*>>>.*\n?(?:^.*\S.*\n?)*", re.MULTILINE)  # with its output, to a blank line


@dataclass(frozen=True)
class Docstring:
    """One example: the text, the module it stands in (dotted), and the chapter's name."""

    text: str
    module: str
    label: str


def collect(stdlib: Path | None = None) -> list[Docstring]:
    """All docstrings of sensible length in the modules of the answer key, in a fixed order.

    Args:
        stdlib: folder of the library's sources; None takes this interpreter's.
    """
    stdlib = stdlib or Path(sysconfig.get_path("stdlib"))
    return [
        Docstring(text, module, label)
        for label, names in CHAPTERS.items()
        for name in names
        for module, source in sources(stdlib, name)
        for text in texts(source, module)
    ]


def sources(stdlib: Path, name: str) -> Iterator[tuple[str, Path]]:
    """Modules of a top-level name, with the files that hold them; none where the name is missing."""
    files = sorted((stdlib / name).rglob("*.py")) if (stdlib / name).is_dir() else [stdlib / f"{name}.py"]
    for file in files:
        parts = file.relative_to(stdlib).with_suffix("").parts
        if file.is_file() and not SKIPPED_FOLDERS & set(parts):
            yield ".".join(part for part in parts if part != "__init__"), file


def texts(source: Path, module: str) -> Iterator[str]:
    """Cleaned docstrings of a source file, in the order in which they stand."""
    hidden = top_level_names() | set(module.split(".")) | {part.strip("_") for part in module.split(".")}
    for node in ast.walk(ast.parse(source.read_bytes())):
        if isinstance(node, DOCUMENTED):
            words = clean(ast.get_docstring(node) or "", hidden).split()
            if sum(bool(WORD.search(word)) and word != "_" for word in words) >= MIN_WORDS:
                yield " ".join(words[:MAX_WORDS])


def clean(docstring: str, hidden: frozenset[str] | set[str]) -> str:
    """The docstring without doctest examples, and with "_" for each whole word that is in `hidden`."""
    prose = EXAMPLE.sub("", docstring)
    lowered = {name.lower() for name in hidden}
    return WORD.sub(lambda found: "_" if found[0].lower() in lowered else found[0], prose)
