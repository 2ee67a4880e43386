"""ViT-B and ViT-L on 5 and 10 images a class, as in NOLA's paper: 4 samples with 3 seeds each."""

from __future__ import annotations

from itertools import product
from typing import Any

from nolakit.bench.recipes.recipe import NOLA, Recipe, family

BASES = {"b": "google/vit-base-patch16-224-in21k", "l": "google/vit-large-patch16-224-in21k"}
FOLDER = (
    "an image folder with one sub-folder a class, or train and test of such; without a test set, what is left"
)
DATA: dict[str, tuple[str, str, dict[str, Any]]] = {
    "cifar10": ("uoft-cs/cifar10", "the hub's columns img and label", {}),
    "cifar100": ("uoft-cs/cifar100", "the hub's columns img and fine_label", {"label_column": "fine_label"}),
    "cub200": ("", FOLDER, {}),
    "caltech101": ("", FOLDER, {}),
}
RUNS = tuple(product(range(4), range(3)))
SETTINGS: dict[str, Any] = {
    "batch_size": 16, "epochs": 50, "schedule": "cosine", "label_smoothing": 0.1, "eval_fraction": 0,
}  # fmt: skip
DEVIATIONS = (
    "the update starts at zero and has NOLA's offset A0, as the paper's language models have; its ViT code has neither",
    "the cosine ends at 0, the paper's at 1e-6",
)
HUB = "the pre-training of the paper's checkpoint may differ from the hub's"
RATE = "the learning rate is the library's own default"
LORA = "q and v are adapted, which gives the published count; the paper's learning rate of LoRA is not known to us"


def _nola(num_basis: int) -> dict[str, Any]:
    options = {"r": 1, "lora_alpha": 1, "num_basis": num_basis, "target_modules": ["fc1", "fc2"]}
    return {"method": "nola", "options": options, "settings": {"lr": 5e-3}, "deviations": DEVIATIONS}


ROWS: dict[str, dict[str, Any]] = {
    "nola": _nola(1024),
    "nola-half": _nola(512),
    "lora": {
        "method": "lora",
        "options": {"r": 1, "lora_alpha": 1, "target_modules": ["q_proj", "v_proj"]},
        "deviations": (LORA,),
    },
    "head": {"method": "head", "deviations": (RATE,)},
    "full": {"method": "full", "deviations": (RATE,)},
}
NUMBERS = {"nola": 94_000, "nola-half": 47_000, "lora": 94_000, "head": 0, "full": 289_000_000}
PUBLISHED = {  # ViT-L, mean accuracy over 12 runs: data -> variant -> (5 images, 10 images)
    "cifar100": {
        "head": (63.7, 70.6), "full": (74.0, 86.2), "lora": (82.2, 85.6), "nola": (83.6, 87.8),
        "nola-half": (81.2, 87.1),
    },
    "cub200": {
        "head": (73.7, 79.2), "full": (73.3, 83.9), "lora": (80.6, 85.2), "nola": (80.8, 85.2),
        "nola-half": (80.7, 85.0),
    },
    "caltech101": {
        "head": (87.6, 89.9), "full": (88.7, 91.3), "lora": (89.9, 91.6), "nola": (90.0, 91.7),
        "nola-half": (89.8, 91.5),
    },
}  # fmt: skip


def recipes() -> list[Recipe]:
    """Every size on every data set, with 5 and 10 images a class."""
    return [one for size, data, shots in product(BASES, DATA, (5, 10)) for one in _recipes(size, data, shots)]


def _recipes(size: str, data: str, shots: int) -> list[Recipe]:
    source, note, columns = DATA[data]
    shared = {
        "setup": f"vit-{size}-{data}-{shots}shot",
        "paper": NOLA,
        "model": BASES[size],
        "data": source,
        "data_note": note,
        "task": "image-classification",
        "settings": {**SETTINGS, **columns},
        "evaluation": {"kind": "classes"},
        "shots": shots,
        "runs": RUNS,
        "deviations": (HUB,),
    }
    rows = {}
    for variant, row in ROWS.items():
        found = PUBLISHED.get(data, {}).get(variant) if size == "l" else None
        published = {"expected": {"accuracy": found[shots == 10]}} if found else {}
        numbers = {"published_numbers": NUMBERS[variant]} if found else {}
        rows[variant] = {**row, **published, **numbers}
    return family(shared, rows)
