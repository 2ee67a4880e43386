"""An adapter as PEFT's LoRA, without files: its configuration and its tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from nolakit.adapter.contents import Adapter
from nolakit.adapter.expand import expand
from nolakit.adapter.paths import FILE_PREFIX
from nolakit.export.lora import lora_config, rank_options
from nolakit.methods.site import ROLES, Factor

if TYPE_CHECKING:
    from nolakit.adapter.contents import ModuleInfo


def config_of(adapter: Adapter) -> dict[str, Any]:
    """What `adapter_config.json` of the exported adapter would say. Makes no factor. Raises as `rank_options`."""
    shapes = {
        f"{FILE_PREFIX}{module.path}.{role}.weight": torch.empty(dims, device="meta")
        for module, made in factor_dims(adapter)
        for role, dims in zip(ROLES, made, strict=True)
    }
    return lora_config(adapter.config | rank_options(adapter, shapes))


def tensors_of(adapter: Adapter) -> dict[str, torch.Tensor]:
    """What `adapter_model.safetensors` would hold, float32 factors and what was trained whole. Raises as `expand`."""
    tensors = expand(adapter)
    with adapter.open_tensors() as source:
        tensors.update({key: source.get_tensor(key) for key in adapter.other_tensors()})
    return tensors


def factor_dims(adapter: Adapter) -> list[tuple[ModuleInfo, tuple[tuple[int, ...], tuple[int, ...]]]]:
    """The shapes of lora_A and lora_B of each module. Raises AdapterError for modules that cannot be."""
    modules = adapter.checked_modules()
    method = adapter.bound_method(modules)
    return [
        (module, (method.dims(Factor("lora_A", module.site)), method.dims(Factor("lora_B", module.site))))
        for module in modules
    ]
