"""The facts of every method: one row each, with counts computed by hand from the papers' formulas."""

from __future__ import annotations

from nolakit.testing import Row

ROWS = [
    Row(
        "nola",
        {"r": 4, "num_basis_a": 6, "num_basis_b": 5},
        counts=[((16, 16), 11), ((24, 40), 11), ({"a.q": (8, 8), "b.q": (8, 12), "c.v": (4, 8)}, 33)],
        llama=({"r": 16, "num_basis_a": 1000, "num_basis_b": 1000}, 128_000),
        degree="quadratic",
    ),
    Row(
        "vera",
        {"r": 4},
        counts=[((16, 16), 20), ((24, 40), 28), ({"a.q": (8, 8), "b.q": (12, 8)}, 28)],
        llama=({"r": 256}, 278_528),
        degree="quadratic",
    ),
    Row(
        "lora_xs",
        {"r": 4},
        counts=[((16, 16), 16), ((24, 40), 16), ({"a.q": (8, 8), "b.q": (8, 12), "c.v": (4, 8)}, 48)],
        llama=({"r": 16}, 16_384),
        degree="linear",
        no_seed="the frozen parts come from the weight",
    ),
    Row(
        "lora_xs",
        {"r": 4, "coefficient_basis": 6},
        counts=[((16, 16), 6), ((24, 40), 6), ({"a.q": (8, 8), "b.q": (8, 12), "c.v": (4, 8)}, 18)],
        llama=({"r": 16, "coefficient_basis": 64}, 4_096),
        degree="linear",
        title="over a basis",
        no_seed="LoRA-XS has no option for one, and the basis takes seed 0",
    ),
]
