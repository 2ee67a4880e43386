"""Merging puts the update into the weight, once, and takes it out again."""

from __future__ import annotations

from nolakit.testing.adapting import layers, logits, moved, updates
from nolakit.testing.bases import BASES
from nolakit.testing.comparing import assert_close, assert_differ, assert_equal
from nolakit.testing.row import Row


def merged_equals_unmerged(row: Row) -> None:
    """The merged weight is the base's plus the update; output as before; unmerging restores both."""
    for base in row.bases:
        model, batch = moved(row, base), BASES[base].batch()
        before, expected, added = _weights(model), logits(model, batch), updates(model)
        assert_differ(expected, logits(BASES[base].make(), batch), f"output of the adapter on {base}")
        model.merge_adapter()
        sums = {name: weight + added[name] for name, weight in before.items()}
        assert_close(_weights(model), sums, f"merged weight on {base}")
        assert_close(logits(model, batch), expected, f"output after merging on {base}")
        model.unmerge_adapter()
        assert_close(_weights(model), before, f"unmerged weight on {base}")
        assert_close(logits(model, batch), expected, f"output after unmerging on {base}")


def unloads(row: Row) -> None:
    """merge_and_unload leaves a plain model of the same output; unload gives the base back to the bit."""
    for base in row.bases:
        model, batch, plain = moved(row, base), BASES[base].batch(), BASES[base].make()
        expected = logits(model, batch)
        merged = model.merge_and_unload()
        assert sorted(merged.state_dict()) == sorted(plain.state_dict()), f"found more than a {base} model"
        assert_close(logits(merged, batch), expected, f"output of the merged model on {base}")
        unloaded = moved(row, base).unload()
        assert_equal(unloaded.state_dict(), plain.state_dict(), f"weights after unload on {base}")


def _weights(model):
    return {name: layer.get_base_layer().weight.detach().clone() for name, layer in layers(model).items()}
