"""GPT-2 M and L on E2E, DART and WebNLG, as NOLA's paper trains and decodes them."""

from __future__ import annotations

from typing import Any

from nolakit.bench.recipes.recipe import NOLA, Recipe, family

BASES = {"m": "openai-community/gpt2-medium", "l": "openai-community/gpt2-large"}
TABLES = {
    "e2e": (
        "the E2E challenge's CSV files as train.csv, validation.csv and test.csv, with the columns mr and ref",
        {"prompt_column": "mr", "completion_column": "ref"},
        64,
    ),
    "dart": (
        "train.jsonl, validation.jsonl and test.jsonl with prompt (the triples in one line) and completion",
        {},
        128,
    ),
    "webnlg": (
        "train.jsonl, validation.jsonl and test.jsonl with prompt (the triples in one line) and completion",
        {},
        128,
    ),
}
DECODING = {"kind": "texts", "num_beams": 10, "length_penalty": 0.8, "no_repeat_ngram": 4}
SHARED: dict[str, Any] = {"epochs": 5, "schedule": "linear", "warmup": 500, "label_smoothing": 0.1}
BATCHES = {"m": {"batch_size": 8}, "l": {"batch_size": 4, "accumulate": 4}}
FUSED = "q and v are adapted inside of c_attn, which is q, k and v in one matrix; k is adapted with them"
DOUBLED = "num_basis is twice the paper's, as one module stands for two: the trained numbers are the paper's"
FULL = {"method": "full", "deviations": ("the learning rate is the library's own default",)}
LORA_RATE = "learning rate and lora_alpha are those of the LoRA code's E2E script, not of NOLA's table"
RESULTS = {  # GPT-2 L on E2E
    "nola": {"expected": {"bleu": 70.5}, "published_numbers": 144_000},
    "nola-small": {"expected": {"bleu": 70.1}, "published_numbers": 36_000},
    "lora": {"expected": {"bleu": 70.4}, "published_numbers": 770_000},
    "lora-r1": {"expected": {"bleu": 69.9}, "published_numbers": 184_000},
    "full": {"expected": {"bleu": 68.5}, "published_numbers": 774_030_000},
}


def _nola(num_basis: int, alpha: int, lr: float) -> dict[str, Any]:
    options = {"r": 8, "lora_alpha": alpha, "num_basis": 2 * num_basis}
    return {
        "method": "nola",
        "options": {**options, "target_modules": ["c_attn"], "fan_in_fan_out": True},
        "settings": {"lr": lr},
        "deviations": (FUSED, DOUBLED),
    }


def _lora(rank: int) -> dict[str, Any]:
    options = {"r": rank, "lora_alpha": 32, "target_modules": ["c_attn"], "fan_in_fan_out": True}
    return {"method": "lora", "options": options, "settings": {"lr": 2e-4}, "deviations": (FUSED, LORA_RATE)}


ROWS = {
    "m": {"nola": _nola(512, 8, 5e-3), "lora": _lora(4), "full": FULL},
    "l": {
        "nola": _nola(1000, 2, 1e-2),
        "nola-small": _nola(256, 2, 1e-2),
        "lora": _lora(4),
        "lora-r1": _lora(1),
        "full": FULL,
    },
}


def recipes() -> list[Recipe]:
    """Every size on every data set."""
    made = []
    for size, base in BASES.items():
        for data, (note, columns, length) in TABLES.items():
            published = RESULTS if (size, data) == ("l", "e2e") else {}
            shared = {
                "setup": f"gpt2-{size}-{data}",
                "paper": NOLA,
                "model": base,
                "data": "",
                "data_note": note,
                "task": "causal-lm",
                "settings": {**SHARED, **BATCHES[size], **columns},
                "evaluation": {**DECODING, "max_new_tokens": length},
            }
            rows = {name: {**row, **published.get(name, {})} for name, row in ROWS[size].items()}
            made += family(shared, rows)
    return made
