"""ResNet-20 on CIFAR-10 from nothing, by PRANC with 1,000 to 60,000 numbers."""

from __future__ import annotations

from typing import Any

from nolakit.bench.recipes.recipe import PRANC, Recipe, family

SIZES = (1_000, 5_000, 10_000, 20_000, 60_000)
SHARED: dict[str, Any] = {
    "setup": "resnet20-cifar10",
    "paper": PRANC,
    "model": "resnet20",
    "data": "uoft-cs/cifar10",
    "data_note": "the hub's columns img and label",
    "task": "image-classification",
    "settings": {
        "batch_size": 256, "epochs": 400, "schedule": "cosine", "lr": 1e-3, "head_lr": 1e-3, "eval_fraction": 0,
    },
    "evaluation": {"kind": "classes"},
    "deviations": (
        "transformers' residual network: its stem is for large images, so that the images are enlarged to 128 x 128, "
        "after which its feature maps have the sizes of ResNet-20's",
        "the classifier, 650 numbers, is trained whole beside PRANC's, as every new head here",
        "the learning rate falls by a cosine where the paper halves it every 50 epochs",
        "images are not augmented; the paper's may be",
    ),
}  # fmt: skip


def recipes() -> list[Recipe]:
    """PRANC in five sizes, and all weights trained."""
    rows: dict[str, dict[str, Any]] = {
        f"pranc-{size}": {
            "method": "pranc",
            "options": {"num_basis": size, "from_scratch": True, "target_modules": r".*convolution"},
            "published_numbers": size,
        }
        for size in SIZES
    }
    return family(SHARED, {**rows, "full": {"method": "full"}})
