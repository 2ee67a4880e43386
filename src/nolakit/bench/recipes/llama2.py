"""LLaMA-2 7B, 13B and 70B on Alpaca over 8- and 4-bit bases, with MMLU, as in NOLA's paper."""

from __future__ import annotations

from typing import Any

from nolakit.bench.recipes.recipe import NOLA, Recipe, family

SIZES = {  # num_basis, LoRA's learning rate
    "7b": (128, 2e-4),
    "13b": (256, 1e-4),
    "70b": (512, 1e-4),
}
SETTINGS: dict[str, Any] = {
    "batch_size": 4, "accumulate": 64, "max_steps": 200, "schedule": "constant_with_warmup", "warmup": 0.03,
    "dtype": "bfloat16", "max_length": 512, "eval_fraction": 0.02, "eval_every": 50,
}  # fmt: skip
MMLU = {"kind": "mmlu", "tasks": ["mmlu"], "num_fewshot": 5, "batch_size": 4}
DEVIATIONS = (
    "gradients are clipped at 1, the Trainer's own, where the paper clips at 0.9",
    "the share of rows to validate on is ours",
)
BITS = "the published table does not name the base's bits; the official script's are 4, so that the figures stand here"
PUBLISHED = {  # train loss, validation loss, MMLU, trained numbers
    ("7b", "nola"): (1.05, 1.01, 46.5, 57_344),
    ("7b", "lora"): (0.97, 1.04, 46.5, 2_498_560),
    ("13b", "nola"): (0.95, 0.97, 55.3, 143_360),
    ("13b", "lora"): (0.94, 0.96, 55.3, 3_911_680),
    ("70b", "nola"): (0.90, 0.90, 69.4, 573_440),
    ("70b", "lora"): (0.87, 0.92, 69.5, 12_943_360),
}


def recipes() -> list[Recipe]:
    """Every size over both bases."""
    return [one for size in SIZES for bits in (8, 4) for one in _recipes(size, bits)]


def _recipes(size: str, bits: int) -> list[Recipe]:
    num_basis, rate = SIZES[size]
    shared = {
        "setup": f"llama2-{size}-alpaca-{bits}bit",
        "paper": NOLA,
        "model": f"meta-llama/Llama-2-{size}-hf",
        "data": "tatsu-lab/alpaca",
        "data_note": "rows of instruction, input and output",
        "prepare": "alpaca",
        "task": "causal-lm",
        "settings": {**SETTINGS, "quantize": f"{bits}bit"},
        "evaluation": MMLU,
        "deviations": (*DEVIATIONS, BITS) if bits == 4 else DEVIATIONS,
    }
    nola = {"r": 16, "lora_alpha": 4, "num_basis": num_basis, "target_modules": "all-linear"}
    lora = {"r": 1, "lora_alpha": 16, "target_modules": "all-linear"}
    rows: dict[str, dict[str, Any]] = {
        "nola": {"method": "nola", "options": nola, "settings": {"lr": 1e-3}},
        "lora": {"method": "lora", "options": lora, "settings": {"lr": rate}},
    }
    for method, row in rows.items():
        train, validation, mmlu, numbers = PUBLISHED[size, method]
        row["published_numbers"] = numbers
        if bits == 4:
            row["expected"] = {"train_loss": train, "loss": validation, "mmlu": mmlu}
    return family(shared, rows)
