"""A base with an adapter folded into its weights, saved as an ordinary model."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nolakit.adapter.writing import check_free, new_folder
from nolakit.errors import AdapterError, UnsupportedError
from nolakit.tasks.loading import load_trained
from nolakit.tasks.quiet import quiet
from nolakit.tasks.reading import load_processor
from nolakit.tasks.record import is_adapter


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
) -> MergeResult:
    """Write base + adapter as one transformers model with its tokenizer or image processor.

    The update is added in the base's dtype, and checked for values that are not finite first.

    Args:
        adapter: an adapter folder.
        output: appears whole or not at all.
        base: the base model; None is where it was in training.
        dtype: of the base, and so of the merged model; None is as in training.
        overwrite: replace what is there.

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
        trained = load_trained(folder, base=base, merged=True, dtype=dtype)
        if getattr(trained.model, "is_quantized", False):
            raise UnsupportedError(
                "found an adapter of a quantised base; merging rounds the update away: copy the adapter, drop "
                '"quantize" from its training.json, and merge into the base as it was before'
            )
        processor = load_processor(trained.record.task, trained.base)
        with new_folder(output, overwrite=overwrite) as fresh:
            trained.model.save_pretrained(fresh)
            processor.save_pretrained(fresh)
            replace(trained.record, settings={**trained.record.settings, "dtype": trained.dtype}).write(fresh)
    size = sum(file.stat().st_size for file in Path(output).glob("*.safetensors"))
    return MergeResult(str(output), size, trained.dtype)
