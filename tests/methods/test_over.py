"""Any method over a random basis: its numbers are combinations, and all else is the method's own."""

from dataclasses import dataclass

import pytest
import torch

from nolakit import basis
from nolakit.errors import BasisError, ConfigError
from nolakit.methods import from_config
from nolakit.methods.base import Method
from nolakit.methods.lora_xs import LoraXs
from nolakit.methods.nola import Nola
from nolakit.methods.over import Over
from nolakit.methods.site import ROLES, Factor, Site
from nolakit.methods.vera import Vera

SITES = [Site("b", (3, 9), (8, 3)), Site("a", (3, 9), (8, 3))]
WEIGHT = torch.randn(8, 9, generator=torch.Generator().manual_seed(0))
METHODS = [Over(LoraXs(), 4, 7), Over(Vera(d_initial=0.5), 2, 7), Over(Nola(num_basis=6), 4, 7)]
by_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


@dataclass(frozen=True)
class Shared(Method):
    """A linear method whose modules share the numbers of the first."""

    name = title = update = source = "shared"

    def count(self, factor):
        return 5 if factor.role == "lora_B" and factor == self.owner(factor) else 0

    def owner(self, factor):
        return Factor("lora_B", self.sites[0])

    def factor(self, numbers, factor, tied, frozen):
        size = (factor.site.outputs if factor.role == "lora_B" else factor.site.inputs) * factor.site.rank
        rows = self.random(factor.role, (size, 5), like=tied, path=factor.path)
        return rows @ tied if factor.role == "lora_B" else rows[:, 0]


def factors(method, numbers):
    """All factors of a bound method from the numbers of each, in order."""
    every = [Factor(role, site) for site in method.sites for role in ROLES]
    given = dict(zip(every, numbers, strict=True))
    found = []
    for factor in every:
        frozen = (
            method.frozen(factor.site, WEIGHT)[factor.role].to(given[factor]) if method.from_weight else None
        )
        owner = method.owner(factor)
        made = method.factors([given[factor]], [factor], None if owner is None else given[owner], [frozen])[0]
        found.append(made.reshape(method.dims(factor)))
    return found


def numbers(method, scale=1.0):
    draw = torch.Generator().manual_seed(3)
    every = [Factor(role, site) for site in method.sites for role in ROLES]
    return [
        scale * torch.randn(method.count(factor), generator=draw, dtype=torch.float64) for factor in every
    ]


@by_method
def test_gradients(method):
    bound = method.bind(SITES)
    given = [value.requires_grad_() for value in numbers(bound)]
    assert torch.autograd.gradcheck(lambda *values: factors(bound, values), given)


@by_method
def test_numbers_are_start_and_combination(method):
    bound = method.bind(SITES)
    inner, given = bound.inner, numbers(bound)
    every = [Factor(role, site) for site in bound.sites for role in ROLES]
    own = []
    for factor, value in zip(every, given, strict=True):
        count = inner.count(factor)
        assert bound.count(factor) == min(count, method.num_basis)
        if count <= method.num_basis:
            own.append(value)
            continue
        assert bound.start(factor) is None
        stream = basis.stream_number(f"over_{factor.role}", factor.path)
        made = basis.combine(value, seed=7, stream=stream, size=count)
        start = inner.start(factor)
        own.append(made if start is None else made + start)
    for found, expected in zip(factors(bound, given), factors(inner, own), strict=True):
        assert torch.equal(found, expected)


def test_a_factor_of_few_numbers_keeps_its_own():
    bound = Over(Vera(d_initial=0.5), 3, 7).bind(SITES)  # 3 numbers of lora_A, 8 of lora_B
    assert torch.equal(bound.start(Factor("lora_A", SITES[0])), torch.full((3,), 0.5))
    assert bound.start(Factor("lora_B", SITES[0])) is None
    assert [bound.count(Factor(role, SITES[0])) for role in ROLES] == [3, 3]


def test_shared_numbers_are_combined_once():
    bound = Over(Shared(), 2, 7).bind(SITES)
    assert [bound.count(Factor(role, site)) for site in bound.sites for role in ROLES] == [0, 2, 0, 0]
    one = torch.tensor([1.0, 2.0], dtype=torch.float64)
    stream = basis.stream_number("over_lora_B", "a")
    expected = basis.combine(one, seed=7, stream=stream, size=5)
    none = one[:0]
    for found, inner in zip(
        factors(bound, [none, one, none, none]),
        factors(bound.inner, [none, expected, none, none]),
        strict=True,
    ):
        assert torch.equal(found, inner)


@pytest.mark.parametrize("method", [Over(LoraXs(), 4, 7), Over(Vera(), 2, 7)], ids=["linear", "quadratic"])
def test_degree(method):
    bound = method.bind(SITES)

    def update(scale):
        lora_a, lora_b = factors(bound, numbers(bound, scale))[:2]
        return lora_b @ lora_a

    doubled = (update(2.0) - 2 * update(1.0)).abs().max() < 1e-9
    assert bound.degree == ("linear" if doubled else "quadratic")


def test_a_linear_method_that_does_not_start_at_zero_is_not_linear_over_a_basis():
    @dataclass(frozen=True)
    class Started(LoraXs):
        def start(self, factor):
            return torch.ones(self.count(factor))

    assert Over(Started(), 4, 7).degree == "other"


def test_modules_and_seeds_have_bases_of_their_own():
    def first(seed, site=0):
        bound = Over(LoraXs(), 4, seed).bind(SITES)
        return factors(bound, [torch.ones_like(value) for value in numbers(bound)])[2 * site + 1]

    assert not torch.allclose(first(7), first(8)) and not torch.allclose(first(7), first(7, 1))


@pytest.mark.parametrize(
    "options", [{"coefficient_basis": 0}, {"coefficient_basis": True}, {"coefficient_basis": 4, "seed": -1}]
)
def test_values_out_of_range(options):
    with pytest.raises((ConfigError, BasisError)):
        from_config("lora_xs", {"store_frozen": False, "r": 4, **options})
