"""The update's degree in the numbers, and what follows: adapters of a linear method add, of others they do not."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from nolakit.errors import NolakitError, UnsupportedError
from nolakit.testing.adapting import Tensors, coefficients, config_for, joined_updates, loaded, move, moved
from nolakit.testing.bases import BASES
from nolakit.testing.comparing import assert_close, distance, joined
from nolakit.testing.row import Row

WEIGHTS = (0.25, 1.5)
EXACT = 1e-6  # relative, of numbers that are added in float32


def degree_is_as_stated(row: Row) -> None:
    """In float64: a linear update of a sum is the sum of the updates, and of zero it is zero; a quadratic one is not
    so, and its third differences are zero; one of another degree is at least not linear."""
    said = config_for(row).method().degree
    assert said == row.degree, f"found degree {said!r}; the row says {row.degree!r}"
    for base in row.bases:
        model = moved(row, base, BASES[base].make(torch.float64)).double()
        here = {name: value.detach().clone() for name, value in coefficients(model).items()}
        move(model)
        step = {name: value.detach() - here[name] for name, value in coefficients(model).items()}
        zero, first, second, both = (_at(model, here, step, *at) for at in ((0, 0), (1, 0), (0, 1), (1, 1)))
        linear = float(zero.norm()) == 0 and distance(both, first + second) < 1e-9
        expected = row.degree == "linear"
        assert linear == expected, (
            f"on {base}: found {'a' if linear else 'no'} linear update; expected {row.degree}"
        )
        if row.degree == "quadratic":
            three, two = _at(model, here, step, 1, 3), _at(model, here, step, 1, 2)
            gap = distance(three - 3 * two, first - 3 * both)
            assert gap < 1e-9, (
                f"on {base}: found a third difference of {gap:.2g}; a quadratic update has none"
            )


def adds_and_averages(row: Row) -> None:
    """`weighted_sum` of two adapters of a linear method adds number by number, and so their updates; of other methods
    it is refused with a reason, and of adapters with other frozen parts too."""
    from nolakit.adapter.arithmetic import weighted_sum

    for base in row.bases:
        with tempfile.TemporaryDirectory() as place:
            folders = [Path(place) / name for name in ("first", "second", "sum", "other")]
            models = [moved(row, base), moved(row, base)]
            move(models[1], seed=5)
            for model, folder in zip(models, folders, strict=False):
                model.save_pretrained(folder)
            if row.degree != "linear":
                try:
                    weighted_sum(folders[:2], WEIGHTS, folders[2])
                except UnsupportedError as error:
                    assert row.method in str(error), f"found a refusal that does not name the method: {error}"
                    continue
                raise AssertionError(
                    f"found a sum of {row.degree} updates on {base}; expected UnsupportedError"
                )
            weighted_sum(folders[:2], WEIGHTS, folders[2])
            found = loaded(base, folders[2])
            for what, of in (("numbers", _numbers), ("updates", joined_updates)):
                first, second = (of(model) for model in models)
                tolerance = EXACT if what == "numbers" else 10 * EXACT
                assert_close(
                    of(found), WEIGHTS[0] * first + WEIGHTS[1] * second, f"sum of {what} on {base}", tolerance
                )
            if row.no_seed is None:
                moved(row, base, seed=99).save_pretrained(folders[3])
                try:
                    weighted_sum([folders[0], folders[3]], WEIGHTS, folders[2], overwrite=True)
                except NolakitError:
                    continue
                raise AssertionError(f"found a sum of adapters of two seeds on {base}; expected a refusal")


def _numbers(model: Any) -> torch.Tensor:
    return joined(coefficients(model))


def _at(model: Any, here: Tensors, step: Tensors, a: float, b: float) -> torch.Tensor:
    """Updates at `a` times the numbers plus `b` times the step."""
    with torch.no_grad():
        for name, value in coefficients(model).items():
            value.copy_(a * here[name] + b * step[name])
    return joined_updates(model)
