"""Train, validation and test sets that share no module and no near-duplicate text.

A module, which is a source file, is in one set only. Sibling modules repeat each other (an abstract class and
its implementation, a wrapper and what it wraps), so a text is dropped, in whichever set, when an earlier one
holds the same text or shares half of the shorter one's three-word sequences. One module gives at most
MODULE_CAP examples, lest a few big ones be the task. Order and choice come from hashes of names and texts:
the same sources give the same sets in any process, and no generator is seeded.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from chapters import LABELS
from docstrings import Docstring

SHARES = {"train": 0.6, "validation": 0.15, "test": 0.25}
MODULE_CAP = 20
MODULE_SHARE = 0.5
SHINGLE = 3  # words
NEAR_DUPLICATE = 0.5  # shared part of the shorter text's shingles


def split(docstrings: Iterable[Docstring]) -> dict[str, list[Docstring]]:
    """The three sets, by name, each in order of length, so that batches of an evaluation pad little."""
    by_module: dict[tuple[str, str], list[Docstring]] = defaultdict(list)
    for example in without_near_duplicates(docstrings):
        by_module[example.label, example.module].append(example)
    sets: dict[str, list[Docstring]] = {name: [] for name in SHARES}
    for label in LABELS:
        modules = {
            module: sorted(found, key=lambda example: stable_hash(example.text))[:MODULE_CAP]
            for (owner, module), found in by_module.items()
            if owner == label
        }
        for module, name in assign({module: len(found) for module, found in modules.items()}).items():
            sets[name] += modules[module]
    return {
        name: sorted(found, key=lambda example: (len(example.text), example.text))
        for name, found in sets.items()
    }


def assign(sizes: dict[str, int]) -> dict[str, str]:
    """A set for each module: the biggest first, each to the set that is furthest from its share.

    A module that would fill more than MODULE_SHARE of a held-out set goes elsewhere, so that no label is
    tested on one module alone.
    """
    total = sum(sizes.values())
    filled: Counter[str] = Counter()
    chosen = {}
    for module in sorted(sizes, key=lambda module: (-sizes[module], stable_hash(module))):
        size = sizes[module]
        open_sets = [
            name for name in SHARES if name == "train" or size <= MODULE_SHARE * SHARES[name] * total
        ]
        chosen[module] = min(open_sets, key=lambda name: (filled[name] + size / 2) / SHARES[name])
        filled[chosen[module]] += size
    return chosen


def without_near_duplicates(docstrings: Iterable[Docstring]) -> list[Docstring]:
    """The examples whose text no earlier example repeats, in their order."""
    kept: list[Docstring] = []
    sizes: list[int] = []
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)  # shingle -> kept examples that have it
    for example in docstrings:
        own = shingles(example.text)
        shared = Counter(index for shingle in own for index in holders[shingle])
        if all(count < NEAR_DUPLICATE * min(len(own), sizes[index]) for index, count in shared.items()):
            for shingle in own:
                holders[shingle].append(len(kept))
            kept.append(example)
            sizes.append(len(own))
    return kept


def shingles(text: str) -> set[tuple[str, ...]]:
    """All runs of SHINGLE words, in lower case and without punctuation."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + SHINGLE]) for i in range(max(1, len(words) - SHINGLE + 1))}


def write_sets(sets: dict[str, list[Docstring]], folder: Path) -> dict[str, Path]:
    """One JSONL file for each set, with columns text, label and module; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.jsonl" for name in sets}
    for name, examples in sets.items():
        lines = [json.dumps({"text": e.text, "label": e.label, "module": e.module}) for e in examples]
        paths[name].write_text("\n".join(lines) + "\n", encoding="utf-8")
    return paths


def stable_hash(text: str) -> str:
    """SHA-256 of a text, for an order that is the same everywhere."""
    return hashlib.sha256(text.encode()).hexdigest()
