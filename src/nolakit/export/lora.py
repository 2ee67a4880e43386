"""Export as a standard PEFT LoRA folder, for every tool that takes LoRA."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from nolakit.adapter.contents import Adapter
from nolakit.adapter.expand import expand
from nolakit.adapter.files import CONFIG_NAME, WEIGHTS_NAME, open_adapter
from nolakit.adapter.paths import FILE_PREFIX
from nolakit.adapter.patterns import by_pattern
from nolakit.adapter.writing import new_folder
from nolakit.errors import UnsupportedError
from nolakit.export.approximation import approximation
from nolakit.export.base_weights import weights_of
from nolakit.export.scaling import scaling_of

# What a LoRA configuration takes over as it stands.
SHARED_OPTIONS = (
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "exclude_modules", "fan_in_fan_out",
    "inference_mode", "layer_replication", "layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout",
    "modules_to_save", "r", "rank_pattern", "revision", "target_modules", "task_type", "trainable_token_indices",
    "use_rslora",
)  # fmt: skip


def lora_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The LoRA configuration of the expanded factors of an adapter of this configuration."""
    shared = {name: config[name] for name in SHARED_OPTIONS if name in config}
    return {"peft_type": "LORA", "init_lora_weights": True, "use_dora": False, "lora_bias": False, **shared}


def export_lora(
    adapter: str | Path,
    folder: str | Path,
    *,
    base: str | Path | None = None,
    dtype: torch.dtype = torch.float32,
    approximate_rank: int | None = None,
    report: Callable[[float], None] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write an adapter as a PEFT LoRA folder whose update is the same, or the best of a rank.

    Args:
        adapter: an adapter folder or a packed file.
        folder: where to write; appears whole or not at all.
        base: of methods that are computed from the base's weights: a folder or a hub id; None is the base that the
            adapter names.
        dtype: of the factors.
        approximate_rank: write the best approximation of this rank instead, in the Frobenius norm; for methods whose
            update has full rank, which have no factors, the only way.
        report: called with the error of the approximation, relative to the update, over all modules.
        overwrite: replace what is there.

    Returns:
        The folder.

    Raises:
        AdapterError, UnsupportedError, BaseNeededError, BaseMismatchError, ModelError: as `expand` and `weights_of`.
        OutputExistsError: `folder` is there and `overwrite` is not set.

    Size: rank * (in + out) numbers a module, which is what the coefficients saved.
    """
    file = open_adapter(adapter)
    if file.computed and file.layout.method.replaces_weights:
        raise UnsupportedError(
            f"found a {file.method!r} adapter in {file.name!r} that replaces the weights of its base, which LoRA only "
            "adds to; merge it"
        )
    if approximate_rank is None:
        tensors = expand(file, dtype=dtype, weight_at=weights_of(file, base))
    else:
        tensors, error = approximation(file, approximate_rank, weight_at=weights_of(file, base), dtype=dtype)
        if report is not None:
            report(error)
    config = file.config | rank_options(file, tensors)
    with file.open_tensors() as source:
        tensors.update({key: source.get_tensor(key) for key in file.other_tensors()})
    return write_lora(config, tensors, folder, overwrite=overwrite)


def rank_options(adapter: Adapter, tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """r, lora_alpha and their patterns for factors whose rank is the method's own, so that the scaling stays; {} where
    the ranks are the configuration's. Raises AdapterError for a scaling that no other program could compute."""
    found: dict[str, tuple[int, float]] = {}
    changed = False
    for module in adapter.modules():
        rank = tensors[f"{FILE_PREFIX}{module.path}.lora_A.weight"].shape[0]
        scaling = scaling_of(adapter.config, module)
        changed |= rank != module.dims["lora_A"][0]
        found[module.path] = rank, scaling * (math.sqrt(rank) if adapter.config.get("use_rslora") else rank)
    if not changed:
        return {}
    (r, alpha), _ = Counter(found.values()).most_common(1)[0]
    return {
        "r": r,
        "lora_alpha": alpha,
        "rank_pattern": by_pattern({path: rank for path, (rank, _) in found.items() if rank != r}, found),
        "alpha_pattern": by_pattern({path: own for path, (_, own) in found.items() if own != alpha}, found),
    }


def write_lora(
    config: Mapping[str, Any], tensors: dict[str, torch.Tensor], folder: str | Path, *, overwrite: bool
) -> Path:
    """Write tensors under PEFT's names as a LoRA folder, with what of a configuration LoRA has too."""
    with new_folder(folder, overwrite=overwrite) as fresh:
        save_file(tensors, fresh / WEIGHTS_NAME, metadata={"format": "pt"})
        text = json.dumps(lora_config(config), indent=2, sort_keys=True)
        (fresh / CONFIG_NAME).write_text(text + "\n", encoding="utf-8")
    return Path(folder)
