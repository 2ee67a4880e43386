"""Packed files: the same bits at 32, few bits and small errors below."""

from __future__ import annotations

import tempfile
from pathlib import Path

from nolakit.adapter.packed_files import write_packed
from nolakit.testing.adapting import coefficients, logits, moved, updates
from nolakit.testing.bases import BASES
from nolakit.testing.comparing import assert_equal, distance, joined
from nolakit.testing.row import Row
from nolakit.tuner.loading import load

ERRORS = {16: 2e-3, 8: 0.02, 4: 0.3}  # of the numbers by bits, relative, at most


def packs(row: Row) -> None:
    """A packed adapter loads: bit-exact of 32 bits, else with errors of its numbers that are bounded; output and
    updates are those of the numbers."""
    for base in row.bases:
        model, batch = moved(row, base), BASES[base].batch()
        numbers = joined(coefficients(model))
        with tempfile.TemporaryDirectory() as place:
            model.save_pretrained(Path(place) / "adapter")
            for bits in (32, 16, 8, 4):
                file = write_packed(Path(place) / "adapter", Path(place) / f"{bits}.safetensors", bits=bits)
                again = load(BASES[base].make(), file).eval()
                if bits == 32:
                    assert_equal(updates(again), updates(model), f"updates packed at 32 bits on {base}")
                    assert_equal(
                        logits(again, batch), logits(model, batch), f"output packed at 32 bits on {base}"
                    )
                    continue
                error = distance(joined(coefficients(again)), numbers)
                assert error <= ERRORS[bits], (
                    f"on {base}: found an error of {error:.2g} at {bits} bits; expected at most {ERRORS[bits]:g}"
                )
                with_numbers = moved(row, base)
                with_numbers.load_state_dict(
                    {name: value.detach() for name, value in coefficients(again).items()}, strict=False
                )
                assert_equal(
                    logits(again, batch),
                    logits(with_numbers, batch),
                    f"output packed at {bits} bits on {base}",
                )
