"""What somebody can do to an adapter folder: each takes the folder and damages it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from attacks import raw
from attacks.whole import SHAPES

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
FIRST = "base_model.model.model.layers.0.self_attn.q_proj"

Damage = Callable[[Path], Any]


def written(data: str | bytes, name: str = CONFIG) -> Damage:
    return lambda folder: (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)


def configured(**changes: Any) -> Damage:
    """Other values in the configuration; None of Ellipsis leaves one out."""

    def damage(folder: Path) -> None:
        values = json.loads((folder / CONFIG).read_text()) | changes
        kept = {name: value for name, value in values.items() if value is not ...}
        (folder / CONFIG).write_text(json.dumps(kept))

    return damage


def shaped(role: str = "lora_A", shape: Any = None) -> Damage:
    """Another shape of one factor."""
    return configured(module_shapes=SHAPES | {"q_proj": SHAPES["q_proj"] | {role: shape}})


def tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Damage:
    def damage(folder: Path) -> None:
        found = load_file(folder / WEIGHTS)
        change(found)
        save_file(found, folder / WEIGHTS)

    return damage


def first(change: Callable[[torch.Tensor], torch.Tensor | None]) -> Damage:
    """Other coefficients of one factor."""

    def changed(found: dict[str, torch.Tensor]) -> None:
        name = FIRST + ".lora_A.coefficients"
        value = change(found.pop(name))
        if value is not None:
            found[name] = value

    return tensors(changed)


def also(name: str) -> Damage:
    """A second name for the tensors of one module."""

    def changed(found: dict[str, torch.Tensor]) -> None:
        for role in ("lora_A", "lora_B"):
            found[f"{name}.{role}.coefficients"] = found[f"{FIRST}.{role}.coefficients"].clone()

    return tensors(changed)


def instead(name: str, make: Callable[[Path], Any]) -> Damage:
    """Something else where a file of the folder was."""

    def damage(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return damage


def emptied(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(raw.Trap()))


def file_for_folder(folder: Path) -> None:
    emptied(folder)
    folder.rmdir()
    folder.write_bytes(b"a file")


def loop(path: Path) -> None:
    path.symlink_to(path)


def folder_loop(folder: Path) -> None:
    emptied(folder)
    folder.rmdir()
    loop(folder)
