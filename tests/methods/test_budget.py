"""One total of trained numbers, spread over factors: exactly, in proportion, within what each can have."""

import random

import pytest

from nolakit.errors import ConfigError
from nolakit.methods import from_config
from nolakit.methods.budget import Budget, spread, stored_weights
from nolakit.methods.site import ROLES, Factor, Site

SITES = [Site("b", (4, 100), (10, 4)), Site("a", (4, 30), (50, 4)), Site("c", (4, 5), (5, 4))]
NOLA = {"seed": 0, "num_basis": 3, "share_basis": True, "r": 4}


def counts(**options):
    method = from_config("nola", NOLA | options).bind(SITES)
    return {
        site.path: tuple(method.count(Factor(role, site)) for role in ROLES)
        for site in sorted(SITES, key=str)
    }


def test_totals_are_met_where_they_can_be():
    draw = random.Random(0)
    for _ in range(2000):
        caps = [draw.randint(1, 60) for _ in range(draw.randint(1, 12))]
        weights = [draw.choice([0, 1, 5, 300, 999]) for _ in caps]
        total = draw.randint(len(caps), 400)
        found = spread(total, weights, caps)
        assert all(1 <= count <= cap for count, cap in zip(found, caps, strict=True))
        room = sum(cap if weight else 1 for cap, weight in zip(caps, weights, strict=True))
        assert sum(found) == min(total, room)


def test_counts_follow_the_weights():
    assert spread(20, [1, 1, 2], [100] * 3) == [5, 5, 10]
    assert spread(11, [1, 1, 1], [100] * 3) == [4, 4, 3]  # what is left goes to the first
    assert spread(100, [1, 1, 2], [100, 7, 100]) == [31, 7, 62]
    assert spread(1_000_000, [65536, 262144] * 100, [65536, 262144] * 100) == [2000, 8000] * 100
    assert spread(6, [0, 999], [9, 9]) == [1, 5]


def test_nola_spreads_num_basis():
    # entries: a 120 and 200, b 400 and 40, c 20 and 20
    assert counts(budget=80) == {"a": (12, 20), "b": (40, 4), "c": (2, 2)}
    assert counts(budget=80, budget_by="equal") == {"a": (14, 14), "b": (13, 13), "c": (13, 13)}
    assert counts(budget=80, budget_weights=[1, 3, 0]) == {"a": (10, 10), "b": (29, 29), "c": (1, 1)}
    assert counts(budget=10**6) == {"a": (120, 200), "b": (400, 40), "c": (20, 20)}
    assert counts() == {"a": (3, 3), "b": (3, 3), "c": (3, 3)}


def test_other_methods_spread_the_numbers_of_a_basis():
    method = from_config("lora_xs", {"store_frozen": False, "r": 4, "budget": 30, "budget_by": "equal"}).bind(
        SITES[:2]
    )
    assert [[method.count(Factor(role, site)) for role in ROLES] for site in SITES[:2]] == [[0, 15], [0, 15]]
    every = from_config("lora_xs", {"store_frozen": False, "r": 4, "budget": 300}).bind(SITES[:2])
    assert [every.count(Factor("lora_B", site)) for site in SITES[:2]] == [16, 16]
    assert every.start(Factor("lora_B", SITES[0])) is None


def test_weights_are_stored_in_three_digits():
    assert stored_weights({"b": 0.5, "a": 2.0, "c": 1e-9, "x": 7.0}, ["b", "a", "c"]) == [999, 250, 0]


@pytest.mark.parametrize(
    "options",
    [
        {"budget": 0}, {"budget": 5}, {"budget": True}, {"budget": 9.0}, {"budget": 80, "budget_by": "colour"},
        {"budget_by": "size"}, {"budget": 80, "budget_by": "gradient"}, {"budget": 80, "budget_weights": [1, 2]},
        {"budget": 80, "budget_weights": [1, 2, -1]}, {"budget": 80, "budget_weights": [1, 2, 1000]},
        {"budget": 80, "budget_weights": [1, 2, 0.5]}, {"budget": 80, "budget_weights": "123"},
        {"budget": 80, "budget_weights": [1, 2, 3], "budget_by": "size"}, {"budget": 80, "coefficient_basis": 4},
    ],
    ids=str,
)  # fmt: skip
def test_budgets_that_cannot_be(options):
    with pytest.raises(ConfigError, match="budget"):
        counts(**options)


@pytest.mark.parametrize(
    "weights", [{"a": 1.0}, {"a": -1.0, "b": 1.0}, {"a": 0.0, "b": 0.0}, {"a": 1.0, "b": float("inf")}]
)
def test_weights_that_cannot_be(weights):
    with pytest.raises(ConfigError, match="budget weight"):
        stored_weights(weights, ["a", "b"])


def test_factors_without_numbers_are_left_out():
    factors = {Factor("lora_A", SITES[0]): 9, Factor("lora_B", SITES[0]): 0}
    assert Budget(4).counts(factors) == {Factor("lora_A", SITES[0]): 4}


def test_more_factors_than_a_reader_should_count_are_refused():
    many = {Factor("lora_A", Site(str(number), (1, 9), (9, 1))): 9 for number in range((1 << 15) + 1)}
    with pytest.raises(ConfigError, match="32,768"):
        Budget(10**6).counts(many)
