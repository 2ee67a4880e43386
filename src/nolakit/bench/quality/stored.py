"""What an adapter takes on the disk, its head apart, and the adapter as it comes back from there."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file, save, save_file
from torch import nn

import nolakit
from nolakit.bench.quality.task import Loaded
from nolakit.tasks.adapting import Adapted
from nolakit.tuner.config import ComputedLoraConfig

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BITS = 16


def stored_bytes(adapted: Adapted, bits: int = BITS) -> int:
    """Bytes of the adapter without its head.

    Of nolakit's methods the packed file, configuration and all; of PEFT's the file of weights in 16 bits, without its
    configuration; of a whole model its weights in 16 bits; of a frozen base nothing.
    """
    model = adapted.model
    if not isinstance(model, PeftModel):
        return sum(
            2 * parameter.numel() for name, parameter in model.named_parameters() if not adapted.is_head(name)
        )
    if isinstance(model.peft_config["default"], ComputedLoraConfig):
        with tempfile.TemporaryDirectory() as place:
            return len(nolakit.pack(_without_head(adapted, Path(place)), bits))
    state: dict[str, torch.Tensor] = get_peft_model_state_dict(model)
    kept = {
        key: value.to(torch.float16).contiguous() if value.is_floating_point() else value.contiguous()
        for key, value in state.items()
        if not adapted.is_head(key)
    }
    return len(save(kept)) if kept else 0


def repacked(adapted: Adapted, loaded: Loaded, bits: int) -> tuple[nn.Module, int]:
    """A fresh base with what comes back from a packed file of so many bits, beside the same head; and the file's
    bytes."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        data = nolakit.pack(_without_head(adapted, folder / "plain"), bits)
        (folder / "packed").write_bytes(data)
        unpacked = nolakit.unpack(folder / "packed", folder / "unpacked")
        base = loaded.model()
        for name in loaded.heads:
            head: Any = adapted.model.base_model.model.get_submodule(name)
            base.get_submodule(name).load_state_dict(head.modules_to_save["default"].state_dict())
        return PeftModel.from_pretrained(base, unpacked).eval(), len(data)


def _without_head(adapted: Adapted, folder: Path) -> Path:
    """The adapter's folder as PEFT writes it, but for modules that are trained whole."""
    adapted.model.save_pretrained(folder)
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    (folder / CONFIG).write_text(json.dumps(config | {"modules_to_save": None}), encoding="utf-8")
    state = load_file(folder / WEIGHTS)
    save_file({key: value for key, value in state.items() if not adapted.is_head(key)}, folder / WEIGHTS)
    return folder
