"""A trained model loaded again: base and adapter, or a whole model, ready to run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nolakit.adapter.files import open_adapter
from nolakit.errors import AdapterError, NolakitError, UnsupportedError
from nolakit.tasks.models import load_model
from nolakit.tasks.record import Record, is_adapter, read_record
from nolakit.tuner.loading import load


@dataclass
class Trained:
    """A model to run, where its base came from, and the record of its training."""

    model: Any
    base: str
    dtype: str
    record: Record


def load_trained(
    folder: str | Path,
    *,
    base: str | Path | None = None,
    merged: bool = False,
    dtype: str | None = None,
) -> Trained:
    """Load an adapter over its base, or a whole model that nolakit trained or merged.

    Args:
        folder: the adapter, a folder or a packed file.
        base: the base model; None is where it was in training.
        merged: merge the adapter into the base's weights, checked for values that are not finite.
        dtype: of the base; None is as in training.

    Raises:
        AdapterNotFoundError, AdapterError: no adapter, or one that cannot be read.
        BaseMismatchError: the adapter was made for another base.
        ModelError: the base cannot be loaded.
        UnsupportedError: `merged` for a method that cannot be merged.
    """
    path = Path(folder)
    record = read_record(path)
    whole = not is_adapter(path)
    base_name, dtype = base_and_dtype(path, record, path if whole else base, dtype)
    if not whole:
        open_adapter(path)  # a file that is not whole is told by name, before the base is loaded
    quantize = None if whole else record.settings.get("quantize")
    model: Any = load_model(record.task, base_name, labels=record.labels, dtype=dtype, quantize=quantize)
    if not whole:
        model = attach(model, path, merged=merged)
    return Trained(model.eval(), base_name, dtype, record)


def base_and_dtype(
    folder: Path, record: Record, base: str | Path | None, dtype: str | None
) -> tuple[str, str]:
    """The base and its dtype: as asked for, else as in training. Raises AdapterError where no base is named."""
    name = str(base or record.settings.get("model") or "")
    if not name:
        raise AdapterError(f"found no base model named in {str(folder)!r}; name it (--base)")
    return name, str(dtype or record.settings.get("dtype") or "float32")


def attach(model: Any, folder: Path, *, merged: bool) -> Any:
    """The base with an adapter, or with the adapter merged into it.

    Raises:
        BaseMismatchError, AdapterError, UnsupportedError: as `load_trained`.
    """
    try:
        adapted = load(model, folder)
    except NolakitError:
        raise
    except (RuntimeError, ValueError, KeyError) as error:
        first_line = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise AdapterError(
            f"found an adapter in {str(folder)!r} that does not load over {type(model).__name__}: {first_line}"
        ) from error
    if not merged:
        return adapted
    if not hasattr(adapted, "merge_and_unload"):
        raise UnsupportedError(
            f"found an adapter in {str(folder)!r} of a method that cannot be merged into a base"
        )
    return adapted.merge_and_unload(safe_merge=True)


def on_accelerator(model: Any) -> Any:
    """The model where the Trainer would put it; a quantised one stays where it was loaded to."""
    if torch.accelerator.is_available() and not getattr(model, "is_quantized", False):
        model.to(torch.accelerator.current_accelerator())
    return model
