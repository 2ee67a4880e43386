"""The names nearest to one that does not exist, for error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str], *, most: int = 3) -> str:
    """`did you mean 'a', 'b'?`, or the names there are where none is near."""
    known = list(dict.fromkeys(map(str, names)))
    folded = {known_name.lower(): known_name for known_name in reversed(known)}
    close = [folded[hit] for hit in difflib.get_close_matches(name.lower(), list(folded), n=most, cutoff=0.5)]
    if close:
        return "did you mean " + " or ".join(map(repr, close)) + "?"
    shown = ", ".join(map(repr, known[:12]))
    return f"there are {shown}" + (f" and {len(known) - 12} more" if len(known) > 12 else "")
