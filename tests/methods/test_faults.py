"""Each check finds a fault that a method can have."""

import pytest
import torch

from methods import faulty
from methods.half_lora import HalfLora
from nolakit import methods
from nolakit.errors import NolakitError
from nolakit.testing import CHECKS, Row, check_method

FOUND = {
    "starts_at_zero": "StartsElsewhere",
    "start_has_a_gradient": "Saddle",
    "every_number_counts": "OneTooMany",
    "gradients_of_updates": "CutGradient",
    "gradients_of_outputs": "CutApply",
    "merged_equals_unmerged": "WrongApply",
    "unloads": "WrongApply",
    "reloads_bit_exact": "Counting",
    "reloads_in_another_process": "PythonsHash",
    "reloads_over_another_dtype": "LastBits",
    "copies": "Remembers",
    "counts_as_published": "OneTooMany",
    "counts_llama_2_7b": "OneTooMany",
    "stores_only_its_numbers": "StoresItsBasis",
    "packs": "WrongUniform",
    "exports_as_lora": "Counting",
    "approximates_as_lora": "Counting",
    "degree_is_as_stated": "SaysLinear",
    "adds_and_averages": "SaysLinear",
    "seeds_differ": "IgnoresSeed",
    "global_generators_stay": "DrawsGlobally",
    "works_over_8_bits": "WrongApply",
    "works_over_4_bits": "WrongApply",
    "mixes_in_a_batch": "Remembers",
    "mixes_with_another_method": "WrongApply",
    "accumulates": "MeanOfBatch",
    "checkpoints": "Alternating",
}
BY_NAME = {check.__name__: check for check in CHECKS}


def row(name: str, cls: type = HalfLora, **changes) -> Row:
    """The facts of HalfLora, or of Dense, under another name."""
    each, llama = (1, 262_144) if issubclass(cls, faulty.Dense) else (2, 524_288)
    facts = {
        "options": {"r": 2},
        "counts": [((16, 16), 16 * each), ((24, 40), 24 * each), ((8, 6), 8 * each)],
        "llama": ({"r": 2}, llama),
        "degree": "linear",
    }
    return Row(name, **facts | changes)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """Registers a class under a name of its own, until the test ends."""
    monkeypatch.setattr(methods, "_METHODS", dict(methods._METHODS))

    def register(cls: type) -> str:
        name = cls.__name__.lower()
        monkeypatch.setattr(cls, "name", name)
        methods.register(name, cls.__module__, cls.__name__)
        return name

    return register


def test_what_is_not_faulty_passes(registered):
    """HalfLora's own test is the documentation's."""
    assert check_method(row(registered(faulty.Dense), faulty.Dense)) == {}


@pytest.mark.parametrize("check, fault", FOUND.items())
def test_a_fault_is_found(registered, check, fault):
    cls = getattr(faulty, fault)
    faulty.Remembers.made.clear()
    with pytest.raises((AssertionError, NolakitError)):
        BY_NAME[check](row(registered(cls), cls))


def test_every_check_finds_one():
    assert FOUND.keys() | {"other_layers_are_refused"} == BY_NAME.keys()


def test_what_is_said_to_be_refused_is(registered):
    said = row(registered(HalfLora), no_conv2d="it is said")
    with pytest.raises(AssertionError, match="found an adapter on conv2d"):
        BY_NAME["other_layers_are_refused"](said)


@pytest.mark.parametrize("check, changes, message", [
    ("starts_at_zero", {"nonzero_start": "it is said"}, "an update of zero"),
    ("every_number_counts", {"idle_numbers": "it is said"}, "no idle number"),
    ("seeds_differ", {"no_seed": "it is said"}, "an option seed"),
    ("seeds_differ", {"seed_draws": "start"}, "the seed draws nothing"),
    ("counts_as_published", {"counts": [((16, 16), 32)]}, "three shapes"),
    ("degree_is_as_stated", {"degree": "quadratic"}, "the row says"),
])  # fmt: skip
def test_a_wrong_row_is_found(registered, check, changes, message):
    with pytest.raises(AssertionError, match=message):
        BY_NAME[check](row(registered(HalfLora), **changes))


def test_a_start_that_is_too_large_is_found(registered):
    said = row(registered(faulty.StartsElsewhere), nonzero_start="it is said", start_bound=1e-5)
    with pytest.raises(AssertionError, match="of the weights' norm"):
        BY_NAME["starts_at_zero"](said)


def test_what_failed_is_listed(registered):
    failed = check_method(row(registered(faulty.OneTooMany), degree="other"))
    assert (
        {"counts_as_published", "every_number_counts", "degree_is_as_stated"}
        <= failed.keys()
        < BY_NAME.keys()
    )
    assert "found 33 trained numbers; expected 32" in failed["counts_as_published"]
    assert torch.get_rng_state().shape  # nothing of torch was left broken
