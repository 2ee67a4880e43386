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
    Row(
        "lora_sb",
        {"r": 4},
        counts=[((16, 16), 16), ((24, 40), 16), ({"a.q": (8, 8), "b.q": (8, 12), "c.v": (4, 8)}, 48)],
        llama=({"r": 96}, 589_824),
        degree="linear",
        nonzero_start="it starts at the best approximation of the first full step",
        start_bound=0.01,
        no_seed="the frozen parts come from a gradient",
        stored_beside="the gradient's singular vectors, which only the data could give again",
    ),
    Row(
        "nora",
        {"r": 6, "inner_rank": 2},
        counts=[((16, 16), 26), ((24, 40), 26), ({"a.q": (8, 8), "b.q": (8, 12), "c.v": (6, 8)}, 78)],
        llama=({"r": 280, "inner_rank": 7}, 251_328),
        degree="other",
    ),
    Row(
        "nora",
        {"r": 6, "inner_rank": 2, "diagonal": False, "activation_aware": True},
        counts=[((16, 16), 24), ((24, 40), 24), ({"a.q": (8, 8), "b.q": (8, 12), "c.v": (6, 8)}, 72)],
        llama=({"r": 280, "inner_rank": 7}, 250_880),
        degree="quadratic",
        title="activation-aware",
        stored_beside="the mean size of each input",
    ),
    Row(
        "tiny_lora",
        {"r": 2, "u": 5},
        counts=[((16, 16), 5), ((24, 40), 5), ({"a.q": (8, 8), "b.q": (8, 12), "c.v": (4, 8)}, 15)],
        llama=({"u": 64}, 4_096),
        degree="linear",
    ),
    Row(
        "tiny_lora",
        {"r": 2, "u": 5, "weight_tying": 1.0},
        counts=[((16, 16), 5), ((24, 40), 5), ({"a.q": (8, 8), "b.q": (8, 12), "c.v": (4, 8)}, 5)],
        llama=({"u": 13}, 13),
        degree="linear",
        title="tied",
    ),
    Row(
        "basis_conv",
        {"r": 3},
        counts=[((16, 16), 48), ((24, 40), 72), ({"a.q": (8, 8), "b.q": (8, 12), "c.v": (4, 8)}, 60)],
        llama=({"r": 8}, 2_097_152),
        degree="linear",
        no_seed="the frozen filters come from the weight",
    ),
    Row(
        "basis_conv",
        {"r": 3, "train_basis": True},
        counts=[((16, 16), 96), ((24, 40), 192), ({"a.q": (8, 8), "b.q": (8, 12), "c.v": (4, 8)}, 144)],
        llama=({"r": 1}, 524_288),
        degree="quadratic",
        title="filters trained too",
        no_seed="the frozen filters come from the weight",
    ),
]
