"""PEFT's own LoRA computes the same from an exported adapter."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from safetensors.torch import save_file

from nolakit.errors import UnsupportedError
from nolakit.export.lora import export_lora
from nolakit.testing.adapting import config_for, joined_updates, loaded, logits, moved, updates
from nolakit.testing.bases import BASES
from nolakit.testing.comparing import assert_close, distance
from nolakit.testing.row import Row

RANK = 2  # of the approximation, below that of any update here


def exports_as_lora(row: Row) -> None:
    """The exported LoRA has the adapter's updates and output. A dense update has no factors: it is refused by the
    method's name."""
    for base in row.bases:
        with _saved(row, base) as (model, adapter, files):
            if config_for(row).method().dense:
                try:
                    export_lora(adapter, adapter / "lora", base=files)
                except UnsupportedError as error:
                    assert row.method in str(error), f"found a refusal that does not name the method: {error}"
                    continue
                raise AssertionError(
                    f"found a dense update exported as LoRA on {base}; expected UnsupportedError"
                )
            loaded = _as_lora(base, export_lora(adapter, adapter / "lora", base=files))
            assert_close(updates(loaded), updates(model), f"exported updates on {base}")
            batch = BASES[base].batch()
            assert_close(
                logits(loaded, batch), logits(model, batch), f"output of the exported adapter on {base}"
            )


def approximates_as_lora(row: Row) -> None:
    """`approximate_rank` gives the best factors of a rank, and reports their error."""
    for base in row.bases:
        with _saved(row, base) as (model, adapter, files):
            told: list[float] = []
            folder = export_lora(
                adapter, adapter / "lora", base=files, approximate_rank=RANK, report=told.append
            )
            found = distance(joined_updates(_as_lora(base, folder)), joined_updates(model))
            values = [torch.linalg.svdvals(update.flatten(1).double()) for update in updates(model).values()]
            lost = sum(float(one[RANK:].square().sum()) for one in values)
            best = (lost / sum(float(one.square().sum()) for one in values)) ** 0.5
            for name, error in (("found", found), ("reported", told[0])):
                assert abs(error - best) < 1e-3, (
                    f"{name} an error of {error:.4f} on {base}; the best is {best:.4f}"
                )


@contextmanager
def _saved(row: Row, base: str) -> Iterator[tuple[Any, Path, Path]]:
    """A model, its adapter's folder, and the base as files."""
    model = moved(row, base)
    with tempfile.TemporaryDirectory() as place:
        adapter, files = Path(place) / "adapter", Path(place) / "base"
        files.mkdir()
        (files / "config.json").write_text("{}", encoding="utf-8")
        save_file(BASES[base].make().state_dict(), files / "model.safetensors")
        model.save_pretrained(adapter)
        yield model, adapter, files


def _as_lora(base: str, folder: Path) -> Any:
    model = loaded(base, folder)
    assert type(model.peft_config["default"]) is LoraConfig
    return model
