"""Export as an ordinary model: base plus update, weight by weight."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_state_dict_into_shards_factory
from safetensors.torch import save_file

from nolakit.adapter.contents import Adapter, TensorInfo
from nolakit.adapter.expand import Updates
from nolakit.adapter.files import open_adapter
from nolakit.adapter.fingerprint import check_fingerprint
from nolakit.adapter.writing import check_free, new_folder
from nolakit.errors import ConfigError
from nolakit.export.base_files import CONFIG, INDEX, BaseFiles, base_of, open_base
from nolakit.export.base_weights import planned_weights
from nolakit.export.merge_plan import Plan, new_plan, plan_updates
from nolakit.export.merge_stored import plan_stored
from nolakit.export.merge_weights import DTYPES, merged_weight

SHARD_SIZE = "5GB"

Progress = Callable[[int, int], None]  # done, of so many


def export_merged(
    adapter: str | Path,
    folder: str | Path,
    *,
    base: str | Path | None = None,
    dtype: torch.dtype | None = None,
    max_shard_size: int | str = SHARD_SIZE,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write base + adapter as an ordinary model, reading and writing one weight after another.

        W' = round(float32(W) + scaling * lora_B lora_A)    each adapted weight, in the dtype of W or `dtype`

    Heads, biases, embeddings and token rows that were trained whole take the place of the base's. No model is
    instantiated and transformers is not imported. Tokenizer and configurations of the base are copied.

    Args:
        adapter: an adapter folder.
        folder: where to write; appears whole or not at all.
        base: a folder or a hub id; None is the base that the adapter names.
        dtype: of all floating-point weights; None leaves each as it is in the base.
        max_shard_size: of one file of weights, in bytes or as "5GB"; more than one get an index.
        overwrite: replace what is there.
        progress: called with the number of weights done and of all.

    Returns:
        The folder.

    Raises:
        OutputExistsError: `folder` is there and `overwrite` is not set.
        ModelError, AdapterError: a base or an adapter that cannot be read, or sums that are not finite.
        BaseMismatchError: the adapter was made for another base.
        StreamingError: a base whose files cannot be merged tensor by tensor.
        UnsupportedError: a quantised base, or an adapter that is not nolakit's.

    Memory: one shard, the largest weight in float32, and the factors. Cost: reading and writing the model once.
    """
    check_free(folder, overwrite=overwrite)
    file = open_adapter(adapter)
    files = open_base(*base_of(file, base))
    with new_folder(folder, overwrite=overwrite) as fresh:
        write_merged(file, files, fresh, dtype=dtype, max_shard_size=max_shard_size, progress=progress)
    return Path(folder)


def write_merged(
    adapter: Adapter,
    base: BaseFiles,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    max_shard_size: int | str = SHARD_SIZE,
    config: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a merged model into an empty folder, with `config` over the base's configuration. As `export_merged`."""
    adapter.check_computed(": `nolakit merge` merges PEFT's")
    plan = new_plan(adapter, base)
    plan_stored(plan)
    plan_updates(plan)
    _check_base(plan)
    wanted = next((name for name, known in DTYPES.items() if known == dtype), None)
    sizes = {
        name: TensorInfo(weight.dtype(wanted), weight.info.shape).bytes
        for name, weight in plan.weights.items()
    }
    try:
        split = split_state_dict_into_shards_factory(
            sizes, get_storage_size=int, filename_pattern="model{suffix}.safetensors", max_shard_size=max_shard_size
        )  # fmt: skip
    except ValueError as error:
        raise ConfigError(
            f"found max_shard_size {max_shard_size!r}; expected such as 5GB or 500MB"
        ) from error
    updates, done = Updates(adapter, weight_at=planned_weights(plan)), 0
    with adapter.open_tensors() as stored:
        for filename, names in split.filename_to_tensors.items():
            shard = {}
            for name in names:
                shard[name] = merged_weight(name, plan.weights[name], plan, stored, updates, wanted)
                done += 1
                if progress:
                    progress(done, len(sizes))
            save_file(shard, folder / filename, metadata={"format": "pt"})
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        _write_json(folder / INDEX, index)
    for path in base.companions():
        shutil.copyfile(path, folder / path.name)
    _write_json(folder / CONFIG, _config(plan, dtype) | dict(config or {}))


def _check_base(plan: Plan) -> None:
    """The adapter's fingerprint, against the weights in the base's files."""
    expected = plan.adapter.config.get("base_fingerprint")
    if expected is None:
        return

    def weight_at(path: str) -> torch.Tensor | None:
        name = plan.names.get(path + ".weight")
        return None if name is None else plan.base.get_tensor(name)

    check_fingerprint(
        expected, {module.canonical: module.dims for module in plan.adapter.modules()}, weight_at
    )


def _config(plan: Plan, dtype: torch.dtype | None) -> dict[str, Any]:
    """The base's configuration, with what merging changed."""
    config = dict(plan.base.config)
    if dtype is not None:
        config["torch_dtype" if "torch_dtype" in config else "dtype"] = str(dtype).removeprefix("torch.")
    if plan.untied:
        config["tie_word_embeddings"] = False
    known = config.get("id2label", "ab")
    if plan.new_labels is not None and plan.new_labels != (
        len(known) if isinstance(known, dict | str) else 0
    ):
        labels = {str(number): f"LABEL_{number}" for number in range(plan.new_labels)}
        config |= {"id2label": labels, "label2id": {label: int(number) for number, label in labels.items()}}
    return config


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
