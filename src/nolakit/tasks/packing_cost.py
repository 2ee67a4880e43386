"""What packing costs an adapter: the same evaluation before and after."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from nolakit.adapter.packed_files import write_packed
from nolakit.adapter.update_error import update_error
from nolakit.tasks.evaluation import evaluate


@dataclass
class PackingCost:
    """Metrics before and after, their differences, and the relative error of the update (Frobenius norm)."""

    before: dict[str, float]
    after: dict[str, float]
    difference: dict[str, float]
    update_error: float
    rows: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def packing_cost(
    adapter: str | Path,
    bits: int,
    *,
    data: str | Path,
    base: str | Path | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> PackingCost:
    """Evaluate an adapter as it is and as it will be once packed, through `nolakit.tasks.evaluate`.

    Args:
        adapter: an adapter folder or a packed file.
        bits: as `nolakit.pack`.
        data, base, callbacks: as `nolakit.tasks.evaluate`.

    Raises: as `nolakit.pack` and `nolakit.tasks.evaluate`.
    """
    with tempfile.TemporaryDirectory(prefix="nolakit-") as place:
        packed = write_packed(adapter, Path(place) / "packed.safetensors", bits=bits)
        before = evaluate(adapter, data=data, base=base, callbacks=callbacks)
        after = evaluate(packed, data=data, base=base, callbacks=callbacks).metrics
        error = update_error(adapter, packed)
    difference = {name: after[name] - value for name, value in before.metrics.items()}
    return PackingCost(before.metrics, after, difference, error, before.rows)
