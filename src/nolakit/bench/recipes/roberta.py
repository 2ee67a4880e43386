"""RoBERTa base and large on GLUE, the usual ground for adapters of very few numbers.

No figures are published beside these rows: papers differ in epochs, rates and the choice of the best run.
"""

from __future__ import annotations

from typing import Any

from nolakit.bench.recipes.recipe import OWN, Recipe, family

BASES = {"base": "FacebookAI/roberta-base", "large": "FacebookAI/roberta-large"}
TASKS = {"sst2": None, "mrpc": "pairs", "qnli": "pairs", "rte": "pairs"}  # data -> how its rows are prepared
QUERY_VALUE = ["query", "value"]
SETTINGS: dict[str, Any] = {
    "batch_size": 32, "epochs": 20, "schedule": "linear", "warmup": 0.06, "max_length": 256,
}  # fmt: skip
ROWS: dict[str, dict[str, Any]] = {
    "nola": {
        "method": "nola",
        "options": {"r": 8, "lora_alpha": 8, "num_basis": 256, "target_modules": QUERY_VALUE},
    },
    "lora": {"method": "lora", "options": {"r": 8, "lora_alpha": 16, "target_modules": QUERY_VALUE}},
    "pranc": {"method": "pranc", "options": {"num_basis": 10_000, "target_modules": QUERY_VALUE}},
    "vera": {"method": "vera", "options": {"r": 256, "target_modules": QUERY_VALUE}},
    "unilora": {
        "method": "unilora",
        "options": {"r": 4, "theta_d_length": 24_576, "target_modules": QUERY_VALUE},
    },
    "lora-xs": {"method": "lora_xs", "options": {"r": 16, "target_modules": QUERY_VALUE}},
    "head": {"method": "head"},
    "full": {"method": "full"},
}
DEVIATIONS = (
    "the epoch is chosen on the validation split, which is also what is reported: GLUE's test labels are not public",
    "learning rates are the methods' own defaults (`nolakit.tasks.learning_rates`), not a sweep's",
)


def recipes() -> list[Recipe]:
    """Both sizes on every task."""
    made = []
    for size, base in BASES.items():
        for task, prepare in TASKS.items():
            shared = {
                "setup": f"roberta-{size}-{task}",
                "paper": OWN,
                "model": base,
                "data": f"nyu-mll/glue:{task}",
                "data_note": "two texts and a label" if prepare else "sentence and label",
                "prepare": prepare,
                "task": "text-classification",
                "settings": SETTINGS,
                "evaluation": {"kind": "classes", "split": "validation"},
                "runs": ((0, 0), (0, 1), (0, 2)),
                "deviations": DEVIATIONS,
            }
            made += family(shared, ROWS)
    return made
