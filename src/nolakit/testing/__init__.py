"""What every method owes, as checks of one row of facts: for this package's methods and for those of others.

    row = Row("my_method", {"r": 4}, counts=[...], llama=(..., ...), degree="quadratic")
    assert not check_method(row)

`docs/methods-contract.md` has a whole example.
"""

from __future__ import annotations

from collections.abc import Callable

from nolakit.testing.arithmetic import adds_and_averages, degree_is_as_stated
from nolakit.testing.counting import counts_as_published, counts_llama_2_7b, stores_only_its_numbers
from nolakit.testing.differentiating import every_number_counts, gradients_of_outputs, gradients_of_updates
from nolakit.testing.exporting import approximates_as_lora, exports_as_lora
from nolakit.testing.merging import merged_equals_unmerged, unloads
from nolakit.testing.mixing import mixes_in_a_batch, mixes_with_another_method
from nolakit.testing.packing import packs
from nolakit.testing.quantized import works_over_4_bits, works_over_8_bits
from nolakit.testing.randomness import global_generators_stay, seeds_differ
from nolakit.testing.repeating import accumulates, checkpoints
from nolakit.testing.row import Row
from nolakit.testing.saving import (
    copies,
    reloads_bit_exact,
    reloads_in_another_process,
    reloads_over_another_dtype,
)
from nolakit.testing.starts import (
    other_layers_are_refused,
    start_has_a_gradient,
    starts_at_zero,
)

__all__ = ["CHECKS", "Check", "Row", "check_method"]

Check = Callable[[Row], None]

CHECKS: tuple[Check, ...] = (
    starts_at_zero,
    start_has_a_gradient,
    other_layers_are_refused,
    every_number_counts,
    gradients_of_updates,
    gradients_of_outputs,
    merged_equals_unmerged,
    unloads,
    reloads_bit_exact,
    reloads_in_another_process,
    reloads_over_another_dtype,
    copies,
    counts_as_published,
    counts_llama_2_7b,
    stores_only_its_numbers,
    packs,
    exports_as_lora,
    approximates_as_lora,
    degree_is_as_stated,
    adds_and_averages,
    seeds_differ,
    global_generators_stay,
    works_over_8_bits,
    works_over_4_bits,
    mixes_in_a_batch,
    mixes_with_another_method,
    accumulates,
    checkpoints,
)


def check_method(row: Row) -> dict[str, str]:
    """Run every check of `CHECKS`.

    Returns:
        By the name of each check that failed, what was found and what was expected; {} where all passed.
    """
    failed = {}
    for check in CHECKS:
        try:
            check(row)
        except Exception as error:  # a check that cannot even run has failed
            failed[check.__name__] = f"{type(error).__name__}: {error}"
    return failed
