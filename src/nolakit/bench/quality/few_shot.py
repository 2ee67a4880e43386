"""So many rows of each class, the same for every method: drawn by a seed of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nolakit.errors import DataError


def few_shot(labels: np.ndarray, counts: Sequence[int], seed: int = 0) -> list[np.ndarray]:
    """Disjoint sets of row numbers with `counts[i]` rows of every class.

    Raises:
        DataError: a class with fewer rows than all sets need.
    """
    random = np.random.default_rng(seed)
    chosen: list[list[int]] = [[] for _ in counts]
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        if len(rows) < sum(counts):
            raise DataError(f"found {len(rows)} rows of class {label}; expected {sum(counts)}")
        start = 0
        for place, count in enumerate(counts):
            chosen[place] += rows[start : start + count].tolist()
            start += count
    return [np.array(sorted(rows), dtype=int) for rows in chosen]
