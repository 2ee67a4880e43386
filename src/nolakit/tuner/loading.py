"""Adapters of any form over a base model: folders, packed files, packed folders, ids of the hub."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn

from nolakit import methods
from nolakit.adapter.container import DESCRIPTION, Stored
from nolakit.adapter.contents import TORCH_NAMES
from nolakit.adapter.files import is_file, open_adapter
from nolakit.adapter.packed_files import unpack
from nolakit.adapter.unpacking import open_packed, read_packed_tensors
from nolakit.errors import AdapterError
from nolakit.tuner.config import ComputedLoraConfig


def load(base: Any, adapter: str | Path, adapter_name: str = "default", **options: Any) -> Any:
    """Put an adapter on a model, as `PeftModel.from_pretrained` does, and from a packed file too.

    Args:
        base: the base model, or a PeftModel, which gets one more adapter.
        adapter: a folder, a packed file, or an id of the Hugging Face hub.
        adapter_name: of the adapter in the model.
        options: PEFT's, such as `is_trainable`.

    Returns:
        The PeftModel.

    Raises:
        AdapterError: a folder or a packed file of this machine that cannot be read.
        BaseMismatchError: the adapter was made for another base.
    """
    here = Path(adapter) / (options.get("subfolder") or "")
    if not is_file(here):
        if here.is_dir() or here.is_symlink():
            open_adapter(here)  # what is wrong with it is told by name
        return _attach(base, str(adapter), adapter_name, options)
    packed = open_packed(here)
    with tempfile.TemporaryDirectory(prefix="nolakit-") as place:
        return _attach(base, str(unpack(packed, Path(place) / "adapter")), adapter_name, options)


def unpacked_state(
    state: dict[str, torch.Tensor], config: ComputedLoraConfig, model: nn.Module, adapter_name: str
) -> dict[str, torch.Tensor]:
    """The tensors of an adapter folder, where PEFT has read a packed file as one; others as they are.

    Args:
        state: what PEFT read; it has given the tensors of modules that were trained whole the names that they have
            in `model`, which the file's digest does not know.

    Raises:
        AdapterError: a damaged file, or one that the configuration beside it does not fit.
    """
    if DESCRIPTION not in state:
        return state
    names = {torch_name: dtype for dtype, torch_name in TORCH_NAMES.items()}
    stored_names = {
        f"{path}.{there}": f"{path}.{key}"
        for path, module in model.named_modules()
        if isinstance(module, AuxiliaryTrainingWrapper)
        for key, there in module.adapter_state_dict_load_map(adapter_name).items()
    }
    stored = {
        stored_names.get(key, key): Stored(
            names.get(str(value.dtype).removeprefix("torch."), str(value.dtype)),
            tuple(value.shape),
            _bytes(value),
        )
        for key, value in state.items()
    }
    packed = read_packed_tensors(stored, "the packed adapter")
    if methods.from_config(packed.method, packed.config) != config.method():
        raise AdapterError(
            f"found a packed adapter of {packed.config}, and beside it the configuration {config.to_dict()}; they "
            "are of two adapters: fetch both again"
        )
    device = state[DESCRIPTION].device
    names_here = {key: name for name, key in stored_names.items()}
    return {names_here.get(key, key): value.to(device) for key, value in packed.load().items()}


def _attach(model: Any, adapter: str, adapter_name: str, options: dict[str, Any]) -> Any:
    if isinstance(model, PeftModel):
        model.load_adapter(adapter, adapter_name, **options)
        return model
    return PeftModel.from_pretrained(model, adapter, adapter_name, **options)


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
