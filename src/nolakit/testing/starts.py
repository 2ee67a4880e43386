"""Where training begins: at the base itself, with a gradient that leads away from it."""

from __future__ import annotations

from nolakit.errors import NolakitError
from nolakit.testing.adapting import attach, gradients, joined_updates, layers, logits
from nolakit.testing.bases import BASES
from nolakit.testing.comparing import assert_equal
from nolakit.testing.row import Row


def starts_at_zero(row: Row) -> None:
    """The update is exactly zero at step 0 and the output is the base's; or, where the row says why not, the update is
    there and small."""
    for base in row.bases:
        model, batch = attach(row, base), BASES[base].batch()
        size = float(joined_updates(model).norm())
        if row.nonzero_start is None:
            assert size == 0, (
                f"on {base}: found an update of norm {size:.2g} at the start; expected exactly zero"
            )
            assert_equal(
                logits(model, batch), logits(BASES[base].make(), batch), f"output at the start on {base}"
            )
            continue
        assert size > 0, (
            f"on {base}: found an update of zero at the start; expected none of zero: {row.nonzero_start}"
        )
        weights = [layer.get_base_layer().weight.detach().norm() for layer in layers(model).values()]
        share = size / float(sum(norm**2 for norm in weights)) ** 0.5
        assert share <= row.start_bound, (
            f"on {base}: found an update of {share:.2g} of the weights' norm at the start; "
            f"expected at most {row.start_bound:g}"
        )


def start_has_a_gradient(row: Row) -> None:
    """At step 0 the loss has a gradient that is not zero in at least one trained tensor of every base."""
    for base in row.bases:
        found = gradients(attach(row, base), BASES[base].batch())
        assert found, f"on {base}: found nothing that is trained"
        largest = max(float(gradient.abs().max()) for gradient in found.values())
        assert largest > 1e-8, f"on {base}: found no gradient at the start (largest {largest:.2g}): a saddle"


def other_layers_are_refused(row: Row) -> None:
    """A layer that the row says is refused raises a typed error, and leaves the model as it was."""
    for base in BASES.keys() - set(row.bases):
        model = BASES[base].make()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        try:
            attach(row, base, model)
        except NolakitError:
            assert_equal(model.state_dict(), before, f"model that refused the adapter, {base}")
            continue
        raise AssertionError(f"found an adapter on {base}; expected a refusal")
