"""A base with an adapter folded into its weights, saved as an ordinary model."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from nolakit.adapter.files import open_adapter
from nolakit.adapter.writing import check_free, new_folder
from nolakit.errors import AdapterError, StreamingError, UnsupportedError
from nolakit.export.base_files import open_base
from nolakit.export.merged import Progress, write_merged
from nolakit.tasks.loading import Trained, base_and_dtype, load_trained
from nolakit.tasks.models import load_model_config, model_class
from nolakit.tasks.quiet import quiet
from nolakit.tasks.reading import load_processor
from nolakit.tasks.record import is_adapter, read_record


@dataclass
class MergeResult:
    """The folder of a merged model, the bytes of its weights, and their dtype."""

    output: str
    bytes: int
    dtype: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def merge(
    adapter: str | Path,
    output: str | Path,
    *,
    base: str | Path | None = None,
    dtype: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> MergeResult:
    """Write base + adapter as one transformers model with its tokenizer or image processor.

    An adapter of nolakit's is added weight by weight (`nolakit.export.merged`), so that memory stays near one file of
    weights. Other methods, and bases whose files name or shape their weights otherwise than the model does, are merged
    by PEFT in the loaded model, checked for values that are not finite.

    Args:
        adapter: an adapter folder.
        output: appears whole or not at all.
        base: the base model; None is where it was in training.
        dtype: of the merged model; None is as in training.
        overwrite: replace what is there.
        progress: called with the number of weights done and of all, where they are merged one by one.

    Raises:
        OutputExistsError: `output` is there and `overwrite` is not set.
        AdapterError, ModelError, BaseMismatchError: as `nolakit.tasks.loading.load_trained`.
        UnsupportedError: a method that cannot be merged, or a quantised base.
    """
    check_free(output, overwrite=overwrite)
    folder = Path(adapter)
    with quiet():
        if folder.is_dir() and not is_adapter(folder) and (folder / "config.json").is_file():
            raise AdapterError(
                f"found a whole model in {str(folder)!r}; expected an adapter, which can be merged"
            )
        with new_folder(output, overwrite=overwrite) as fresh:
            trained = _streamed(folder, fresh, base, dtype, progress) or _loaded(folder, fresh, base, dtype)
            load_processor(trained.record.task, trained.base).save_pretrained(fresh)
            replace(trained.record, settings={**trained.record.settings, "dtype": trained.dtype}).write(fresh)
    size = sum(file.stat().st_size for file in Path(output).glob("*.safetensors"))
    return MergeResult(str(output), size, trained.dtype)


def _streamed(
    folder: Path, fresh: Path, base: str | Path | None, dtype: str | None, progress: Progress | None
) -> Trained | None:
    """Merge weight by weight. None where that cannot be done."""
    record = read_record(folder)
    file = open_adapter(folder)
    if not file.computed:
        return None
    name, wanted = base_and_dtype(folder, record, base, dtype)
    config = load_model_config(name)
    changes: dict[str, Any] = {"architectures": [model_class(record.task, config, name).__name__]}
    if record.labels is not None:
        changes["id2label"] = {str(number): label for number, label in enumerate(record.labels)}
        changes["label2id"] = {label: number for number, label in enumerate(record.labels)}
    try:
        write_merged(
            file, open_base(name), fresh, dtype=getattr(torch, wanted), config=changes, progress=progress
        )
    except StreamingError:
        return None
    return Trained(None, name, wanted, record)


def _loaded(folder: Path, fresh: Path, base: str | Path | None, dtype: str | None) -> Trained:
    """Merge in the loaded model."""
    trained = load_trained(folder, base=base, merged=True, dtype=dtype)
    if getattr(trained.model, "is_quantized", False):
        raise UnsupportedError(
            "found an adapter of a quantised base; merging rounds the update away: copy the adapter, drop "
            '"quantize" from its training.json, and merge into the base as it was before'
        )
    trained.model.save_pretrained(fresh)
    return trained
