"""One step of training in other ways: in parts, and with layers that are computed twice."""

from __future__ import annotations

from nolakit.testing.adapting import gradients, moved, taken_gradients
from nolakit.testing.bases import BASES
from nolakit.testing.comparing import assert_close
from nolakit.testing.row import Row


def accumulates(row: Row) -> None:
    """Gradients of parts of a batch add up to that of the batch."""
    for base in row.bases:
        model, batch = moved(row, base), BASES[base].batch()
        whole = gradients(model, batch)
        for part in range(3):
            (model(**{name: value[2 * part :][:2] for name, value in batch.items()}).loss / 3).backward()
        assert_close(taken_gradients(model), whole, f"gradients in three parts on {base}")


def checkpoints(row: Row) -> None:
    """Gradients are the same where activations are computed again in the backward pass."""
    model, batch = moved(row), BASES["linear"].batch()
    expected = gradients(model, batch)
    model.get_base_model().checkpointing = True
    assert_close(gradients(model, batch), expected, "gradients with checkpointing")
