"""Module paths as patterns: back to the same set of paths, whatever they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nolakit.adapter.module_names import MOST_RANGES, compress, count, expand_names
from nolakit.errors import AdapterError

PARTS = st.one_of(
    st.integers(0, 12).map(str),
    st.sampled_from(["layers", "q_proj", "00", "007", "9" * 30, "{0-3}", "[1, 2]", "ö", "-1", " "]),
)
PATHS = st.lists(PARTS, min_size=1, max_size=7).map(".".join)


@given(st.sets(PATHS, max_size=60))
def test_patterns_name_each_path_once(paths):
    patterns = compress(paths)
    assert count(patterns) == len(paths)
    assert sorted(expand_names(patterns)) == sorted(paths)
    assert patterns == compress(sorted(paths, reverse=True))


@pytest.mark.parametrize("paths, patterns", [
    (["lm_head"], ["lm_head"]),
    ([f"layers.{i}.q" for i in range(80)], [["layers.", [0, 79], ".q"]]),
    ([f"layers.{i}.q" for i in (0, 1, 2, 5)], ["layers.5.q", ["layers.", [0, 2], ".q"]]),
    ([f"l.{i}.experts.{j}.up" for i in range(2) for j in range(8)], [["l.", [0, 1], ".experts.", [0, 7], ".up"]]),
    ([f"{i}.{j}" for i in range(2) for j in range(3)], [[[0, 1], ".", [0, 2]]]),
])  # fmt: skip
def test_patterns_are_short(paths, patterns):
    assert compress(paths) == patterns


@pytest.mark.parametrize("patterns", [
    None, "q", [""], [[]], [3], [["q", [0]]], [["q", [2, 1]]], [["q", [-1, 1]]], [["q", [0, 1.0]]], [["q", [False, 1]]],
    [["q", [0, 1 << 40]]], [[[0, 1]] * (MOST_RANGES + 1)], [{"q": 1}],
])  # fmt: skip
def test_what_is_no_pattern_is_refused(patterns):
    with pytest.raises(AdapterError, match="module names"):
        count(patterns)


def test_counting_names_nothing():
    assert count([[[0, (1 << 32) - 1]] * MOST_RANGES]) == 1 << 128
