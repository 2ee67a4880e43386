import numpy as np
import pytest

from nolakit.bench.quality.few_shot import few_shot
from nolakit.errors import DataError

LABELS = np.repeat(np.arange(4), 10)


def test_sets_are_disjoint_and_have_so_many_of_each_class():
    sets = few_shot(LABELS, (5, 2, 3))
    assert [np.bincount(LABELS[rows]).tolist() for rows in sets] == [[5] * 4, [2] * 4, [3] * 4]
    assert len(set(np.concatenate(sets))) == 40


def test_a_seed_gives_the_same_sets():
    assert all(
        (a == b).all() for a, b in zip(few_shot(LABELS, (5, 2), 1), few_shot(LABELS, (5, 2), 1), strict=True)
    )
    assert any(
        (a != b).any() for a, b in zip(few_shot(LABELS, (5, 2), 1), few_shot(LABELS, (5, 2), 2), strict=True)
    )


def test_too_few_rows_of_a_class_are_refused():
    with pytest.raises(DataError, match="found 10 rows of class 0; expected 11"):
        few_shot(LABELS, (9, 2))
