"""The adapted modules' paths as few patterns: literal text, or text and ranges of whole numbers in turn.

    "lm_head"                                              one path
    ["model.layers.", [0, 79], ".self_attn.q_proj"]        eighty, first and last included
    ["layers.", [0, 1], ".experts.", [0, 7], ".up_proj"]   sixteen, the last range counting fastest

Text and numbers are apart, so that no path needs escaping. Any list of paths has such patterns: a path that fits
no range stands by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

from nolakit.errors import AdapterError

MOST_RANGES = 4  # in one pattern

Part = str | tuple[int, int]


def compress(paths: Iterable[str]) -> list[Any]:
    """Patterns that name each of these different paths once, sorted."""
    found: list[tuple[Part, ...]] = [tuple(path.split(".")) for path in paths]
    for position in range(max((len(parts) for parts in found), default=0) - 1, -1, -1):
        found = list(_merged(found, position))
    return sorted((_written(parts) for parts in found), key=repr)


def count(patterns: Any) -> int:
    """How many paths the patterns name, without naming them.

    Raises:
        AdapterError: not patterns as above.
    """
    if not isinstance(patterns, list):
        raise AdapterError(
            f"found {type(patterns).__name__} for the module names; expected a list of patterns"
        )
    return sum(_count(pattern) for pattern in patterns)


def expand_names(patterns: list[Any]) -> list[str]:
    """The paths, in the order of the patterns. Takes patterns that `count` has passed."""
    paths = []
    for pattern in patterns:
        parts = [pattern] if isinstance(pattern, str) else pattern
        choices = [[part] if isinstance(part, str) else range(part[0], part[1] + 1) for part in parts]
        paths += ["".join(map(str, chosen)) for chosen in product(*choices)]
    return paths


def _merged(found: list[tuple[Part, ...]], position: int) -> Iterator[tuple[Part, ...]]:
    """Those that differ in the whole number at `position` alone, merged where the numbers follow one another."""
    numbers: dict[tuple[Part, ...], list[int]] = {}
    for parts in found:
        part = parts[position] if position < len(parts) else ""
        if isinstance(part, str) and _is_number(part):
            numbers.setdefault((*parts[:position], "", *parts[position + 1 :]), []).append(int(part))
        else:
            yield parts
    for around, values in numbers.items():
        ranges = sum(not isinstance(part, str) for part in around)
        for first, last in _runs(sorted(values)) if ranges < MOST_RANGES else ((v, v) for v in values):
            part = str(first) if first == last else (first, last)
            yield (*around[:position], part, *around[position + 1 :])


def _is_number(part: str) -> bool:
    return len(part) < 10 and part.isascii() and part.isdigit() and str(int(part)) == part


def _runs(values: list[int]) -> Iterator[tuple[int, int]]:
    first = previous = values[0]
    for value in values[1:]:
        if value != previous + 1:
            yield first, previous
            first = value
        previous = value
    yield first, previous


def _written(parts: tuple[Part, ...]) -> Any:
    """Neighbouring texts joined."""
    written: list[Any] = [""]
    for number, part in enumerate(parts):
        if not isinstance(written[-1], str):
            written.append("")
        written[-1] += "." if number else ""
        if isinstance(part, str):
            written[-1] += part
        else:
            written[-1:] = [written[-1], list(part)] if written[-1] else [list(part)]
    return written[0] if len(written) == 1 and isinstance(written[0], str) else written


def _count(pattern: Any) -> int:
    if type(pattern) is str and pattern:
        return 1
    paths, ranges = 1, 0
    for part in pattern if type(pattern) is list else ():
        if type(part) is not str:
            ranges += 1
            paths *= _length(part)
    if not pattern or type(pattern) is not list or ranges > MOST_RANGES or not paths:
        raise AdapterError(
            f"found module names {repr(pattern)[:80]}; expected a text, or a list of texts and at most "
            f"{MOST_RANGES} ranges [first, last]"
        )
    return paths


def _length(part: Any) -> int:
    """Numbers of a range, 0 for what is none."""
    if type(part) is not list or len(part) != 2:
        return 0
    first, last = part
    whole = type(first) is int and type(last) is int and 0 <= first <= last < 1 << 32
    return last - first + 1 if whole else 0
