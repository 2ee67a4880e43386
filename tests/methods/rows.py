"""The facts of every method: one row each, with counts computed by hand from the papers' formulas."""

from __future__ import annotations

from nolakit.testing import Row

START_ALONE = "the seed draws the start alone"

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
        "lora_fa",
        {"r": 4},
        counts=[((16, 16), 64), ((24, 40), 96), ({"a.q": (8, 8), "b.q": (8, 12), "c.v": (4, 8)}, 80)],
        llama=({"r": 8}, 2_097_152),
        degree="linear",
    ),
    Row(
        "lora_mini",
        {"r": 3, "aux_a": 6, "aux_b": 4},
        counts=[((16, 16), 30), ((24, 40), 30), ({"a.q": (8, 8), "b.q": (8, 12), "c.v": (4, 8)}, 90)],
        llama=({"r": 8, "aux_a": 64, "aux_b": 64}, 65_536),
        degree="quadratic",
    ),
    Row(
        "lorta",
        {"r": 4, "head_dim": 8},
        counts=[
            ((16, 16), 4 * (16 + 8 + 2 + 1 + 1)),
            ((24, 40), 4 * (40 + 8 + 3 + 1 + 1)),
            (
                {
                    "layers.0.self_attn.q_proj": (16, 16),
                    "layers.0.self_attn.k_proj": (8, 16),
                    "layers.0.self_attn.o_proj": (16, 16),
                    "layers.1.self_attn.q_proj": (16, 16),
                    "layers.1.mlp.up_proj": (24, 16),
                },
                4 * (16 + 8 + 2 + 2 + 3) + 4 * (16 + 24 + 1 + 1 + 1),
            ),
        ],
        llama=({"r": 8, "head_dim": 128}, 34_320),
        degree="other",
        no_seed=START_ALONE,
    ),
    Row(
        "melora",
        {"r": 2, "blocks": 4},
        counts=[((16, 16), 64), ((24, 40), 128), ({"a.q": (8, 8), "b.q": (8, 12), "c.v": (4, 8)}, 96)],
        llama=({"r": 1, "blocks": 8}, 524_288),
        degree="quadratic",
        no_seed=START_ALONE,
    ),
    Row(
        "prolora",
        {"r": 4, "unshared": 1, "chunks_a": 3, "chunks_b": 3},
        counts=[
            ((16, 16), 32 + 3 * (6 + 6)),
            ((24, 40), 64 + 3 * (8 + 14)),
            ({"a.q": (8, 8), "b.q": (8, 12), "c.v": (4, 8)}, 16 + 20 + 12 + 3 * (3 + 3 + 3 + 4 + 2 + 3)),
        ],
        llama=({"r": 8, "unshared": 1, "chunks_a": 7, "chunks_b": 7}, 1_049_344),
        degree="quadratic",
        no_seed=START_ALONE,
    ),
    Row(
        "tied_lora",
        {"r": 4},
        counts=[
            ((16, 16), 4 * 32 + 20),
            ((24, 40), 4 * 64 + 28),
            ({"a.q": (8, 8), "b.q": (8, 8), "c.v": (4, 8)}, 4 * 16 + 2 * 12 + 4 * 12 + 8),
        ],
        llama=({"r": 8}, 393_728),
        degree="other",
        no_seed=START_ALONE,
    ),
    Row(
        "tied_lora",
        {"r": 4, "train_a": False, "train_b": False},
        counts=[((16, 16), 20), ((24, 40), 28), ({"a.q": (8, 8), "b.q": (8, 8), "c.v": (4, 8)}, 2 * 12 + 8)],
        llama=({"r": 256}, 278_528),
        degree="other",
        title="diagonals alone",
    ),
    Row(
        "uni_lora",
        {"r": 2, "theta_d_length": 30},
        counts=[((16, 16), 30), ((24, 40), 30), ({"a.q": (2, 3), "b.q": (2, 3)}, 20)],
        llama=({"r": 4, "theta_d_length": 524_288}, 524_288),
        degree="quadratic",
        nonzero_start="both factors are made of the same numbers, whose zero is a saddle",
    ),
]
