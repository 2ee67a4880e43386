"""All that is random comes from the adapter's own seed, and from no generator that others use."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy
import torch

from nolakit.testing.adapting import attach, coefficients, joined_updates, loaded, logits, train
from nolakit.testing.bases import BASES
from nolakit.testing.comparing import assert_differ, assert_equal, joined
from nolakit.testing.row import Row


def seeds_differ(row: Row) -> None:
    """Of equal numbers, another seed makes another update; or another start, where the row says that the seed draws
    that alone. The same seed makes the same bits again."""
    if row.no_seed is not None:
        options = [name for name, _ in row.method_class.options()]
        assert "seed" not in options, (
            f"found an option seed; the row says that there is no use for one: {row.no_seed}"
        )
        return
    for base in row.bases:
        first, again, other = (attach(row, base, seed=seed) for seed in (1, 1, 2))
        starts = [joined(coefficients(model)) for model in (first, again, other)]
        assert_equal(starts[0], starts[1], f"start of one seed on {base}")
        found, same, apart = (_updates_of_equal_numbers(model) for model in (first, again, other))
        assert_equal(same, found, f"updates of one seed on {base}")
        if row.seed_draws == "start":
            assert_equal(apart, found, f"updates of equal numbers on {base}, of which the seed draws nothing")
            assert_differ(starts[2], starts[0], f"start of another seed on {base}")
        else:
            assert_differ(apart, found, f"updates of equal numbers and another seed on {base}")


def global_generators_stay(row: Row) -> None:
    """Attaching, training, saving, loading and merging leave the generators of torch, numpy and random as they were."""
    batch = BASES["linear"].batch()
    with tempfile.TemporaryDirectory() as place:
        with _untouched("attaching"):
            model = attach(row)
        with _untouched("training"):
            train(model.train(), batch, steps=2)
        with _untouched("saving"):
            model.eval().save_pretrained(place)
        with _untouched("loading"):
            again = loaded("linear", place)
        with _untouched("computing"):
            logits(again, batch)
        with _untouched("merging"):
            again.merge_adapter()


def _updates_of_equal_numbers(model: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for value in coefficients(model).values():
            value.copy_(0.3 * torch.randn(value.shape, generator=generator))
    return joined_updates(model)


@contextmanager
def _untouched(doing: str) -> Iterator[None]:
    before = _states()
    yield
    for name, state in _states().items():
        assert state == before[name], (
            f"{doing} drew from the global generator of {name}; expected none to be touched"
        )


def _states() -> dict[str, Any]:
    of_numpy: Any = numpy.random.get_state()
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": [of_numpy[1].tolist(), *of_numpy[2:]],
        "random": random.getstate(),
    }
