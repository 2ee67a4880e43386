"""What is saved comes back the same: here, in another process, over a base of another dtype, in copies."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from nolakit.testing.adapting import Tensors, attach, coefficients, loaded, logits, moved, updates
from nolakit.testing.bases import BASES
from nolakit.testing.comparing import assert_close, assert_differ, assert_equal
from nolakit.testing.other_process import seen_in_another_process
from nolakit.testing.row import Row

HALF_TOLERANCE = 0.05  # of frozen parts that are computed from a weight that was rounded to bfloat16


def reloads_bit_exact(row: Row) -> None:
    """A saved adapter loads with the same numbers, updates and output, and is saved again as the same file."""
    for base in row.bases:
        with _saved(row, base) as (model, folder):
            batch = BASES[base].batch()
            again = loaded(base, folder)
            assert_equal(_numbers(again), _numbers(model), f"numbers on {base}")
            assert_equal(updates(again), updates(model), f"updates on {base}")
            assert_equal(logits(again, batch), logits(model, batch), f"output on {base}")
            again.save_pretrained(folder / "again")
            first, second = (
                (place / "adapter_model.safetensors").read_bytes() for place in (folder, folder / "again")
            )
            assert first == second, f"on {base}: found another file after saving again"


def reloads_in_another_process(row: Row) -> None:
    """Another process, whose strings hash otherwise, computes the same bits."""
    for base in row.bases:
        with _saved(row, base) as (model, folder):
            seen = seen_in_another_process(row, base, folder)
        expected = {"logits": logits(model, BASES[base].batch()), **_seen(model)}
        assert_equal(seen, expected, f"in another process, on {base}")


def reloads_over_another_dtype(row: Row) -> None:
    """Over a bfloat16 base the numbers are the same bits, and so are updates that do not come from the weight; they
    are saved again as they were."""
    with _saved(row, "linear") as (model, folder):
        low = loaded("linear", folder, torch.bfloat16)
        assert_equal(_numbers(low), _numbers(model), "numbers over bfloat16")
        if model.peft_config["default"].method().needs_weights:
            assert_close(updates(low), updates(model), "updates over bfloat16", HALF_TOLERANCE)
        else:
            assert_equal(updates(low), updates(model), "updates over bfloat16")
        batch = BASES["linear"].batch(dtype=torch.bfloat16)
        assert_close(
            logits(low, batch).float(), logits(model, BASES["linear"].batch()), "output", HALF_TOLERANCE
        )
        low.save_pretrained(folder / "again")
        again = loaded("linear", folder / "again")
        assert_equal(_numbers(again), _numbers(model), "numbers that went through bfloat16")


def copies(row: Row) -> None:
    """A deep copy has the same output and shares nothing; a state dict goes through safetensors into a fresh adapter
    without a bit lost."""
    model, batch = moved(row), BASES["linear"].batch()
    expected = logits(model, batch)
    twin = copy.deepcopy(model)
    assert_equal(logits(twin, batch), expected, "output of a copy")
    with torch.no_grad():
        for value in coefficients(twin).values():
            value.add_(1)
    assert_differ(logits(twin, batch), expected, "output of a changed copy")
    assert_equal(logits(model, batch), expected, "output of the model that was copied")
    fresh = attach(row)
    fresh.load_state_dict(load(save({name: value.clone() for name, value in model.state_dict().items()})))
    assert_equal(logits(fresh, batch), expected, "output after load_state_dict")


@contextmanager
def _saved(row: Row, base: str) -> Iterator[tuple[Any, Path]]:
    model = moved(row, base)
    with tempfile.TemporaryDirectory() as place:
        model.save_pretrained(place)
        yield model, Path(place)


def _numbers(model: Any) -> Tensors:
    return {name: value.detach() for name, value in coefficients(model).items()}


def _seen(model: Any) -> Tensors:
    return _numbers(model) | {f"update {name}": update for name, update in updates(model).items()}
