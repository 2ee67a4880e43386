import math

import pytest

from nolakit.bench.quality.sweep import MOST, best_rate, first_rates, half_decades


@pytest.mark.parametrize("lr, exponent", [(1e-2, -4), (3e-3, -5), (5e-5, -9), (1e-4, -8), (1.0, 0)])
def test_half_decades(lr, exponent):
    assert half_decades(lr) == exponent


def test_a_first_search_has_the_common_rates_and_the_methods_own():
    assert first_rates((-5, -4, -3), 1e-4, None) == [-8, -5, -4, -3]
    assert first_rates((-5, -4, -3), 1e-2, None) == [-5, -4, -3]


def test_the_next_budget_has_the_common_rates_and_those_around_the_last_best():
    assert first_rates((-5, -4, -3), 1e-4, -2) == [-5, -4, -3, -2, -1]
    assert first_rates((-5, -4, -3), 1e-2, -8) == [-9, -8, -7, -5, -4, -3]


@pytest.mark.parametrize("top", [-9, -5, -4, -1])
def test_the_search_goes_on_until_the_best_has_both_neighbours(top):
    tried = []

    def value(exponent):
        tried.append(exponent)
        return (-abs(exponent - top),)

    assert best_rate(value, [-5, -4, -3]) == top
    assert {top - 1, top + 1} <= set(tried)
    assert len(tried) == len(set(tried)) <= MOST


def test_a_search_ends():
    tried = []
    assert best_rate(lambda exponent: tried.append(exponent) or (exponent,), [-5, -4, -3]) == max(tried)
    assert len(tried) == MOST


def test_where_all_diverged_nothing_more_is_tried():
    tried = []
    best_rate(lambda exponent: tried.append(exponent) or (-math.inf,), [-5, -4, -3])
    assert tried == [-5, -4, -3]
