"""The base model of an engine, as adapters see it: linear layers by canonical path."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from nolakit.adapter.contents import Adapter, ModuleInfo
from nolakit.adapter.fingerprint import check_fingerprint, weight_of
from nolakit.adapter.paths import FILE_PREFIX, canonical_path
from nolakit.errors import BaseMismatchError, BaseNeededError, UnsupportedError


class Base:
    """A Hugging Face model, on its device: its modules by canonical path, its dtype and its device."""

    def __init__(self, model: Any) -> None:
        self.prefix: str = getattr(model, "base_model_prefix", "")
        self.modules: dict[str, nn.Module] = {
            canonical_path(path, self.prefix): module for path, module in model.named_modules() if path
        }
        self.dtype: torch.dtype = model.dtype
        self.device: torch.device = model.device

    def check(self, adapter: Adapter, modules: list[ModuleInfo]) -> None:
        """Raises BaseMismatchError where an adapter was made for another base, UnsupportedError where it adapts what is
        no linear layer."""
        for module in modules:
            found = self.modules.get(module.canonical)
            if found is None:
                raise BaseMismatchError(
                    f"found an adapter of {module.canonical!r}, which the base does not have; serve the base that it "
                    "was trained on"
                )
            wanted = module.site.inputs, module.site.outputs
            if dims_of(found, module.canonical) != wanted:
                raise BaseMismatchError(
                    f"found an adapter of {wanted[0]} inputs and {wanted[1]} outputs for {module.canonical!r}, which "
                    f"has {dims_of(found, module.canonical)}; serve the base that it was trained on"
                )
        expected = adapter.config.get("base_fingerprint")
        if expected is not None:
            dims = {module.canonical: module.dims for module in modules}
            check_fingerprint(expected, dims, lambda path: weight_of(self.modules.get(path)))

    def weight_at(self, path: str) -> torch.Tensor:
        """The weight as a matrix, (out, in), for methods that are computed from it. Raises BaseNeededError where it is
        stored otherwise, as quantised ones are."""
        module = self.modules[path]
        weight = weight_of(module)
        if weight is None or not weight.is_floating_point() or weight.dim() != 2:
            raise BaseNeededError(
                f"found {type(module).__name__} at {path!r}, whose weight cannot be read, and an adapter that is "
                "computed from it; serve the base unquantised, or train with store_frozen=True"
            )
        return weight.detach().T if is_conv1d(module) else weight.detach()


def dims_of(module: nn.Module, path: str) -> tuple[int, int]:
    """Inputs and outputs of a linear layer, of whatever class. Raises UnsupportedError for what is none."""
    inputs, outputs = getattr(module, "in_features", None), getattr(module, "out_features", None)
    if isinstance(inputs, int) and isinstance(outputs, int):
        return inputs, outputs
    weight = weight_of(module)
    if is_conv1d(module) and weight is not None:
        return weight.shape[0], weight.shape[1]
    raise UnsupportedError(
        f"found an adapter of {path!r}, which is {type(module).__name__} in the base; an engine takes adapters of "
        "linear layers: merge this one and serve the merged model"
    )


def is_conv1d(module: nn.Module) -> bool:
    """Whether this is GPT-2's linear layer, whose weight is stored (in, out)."""
    return type(module).__name__ == "Conv1D"


def trained_whole(adapter: Adapter, prefix: str) -> dict[str, list[str]]:
    """What of an adapter was trained whole: names of tensors by the canonical path of their module."""
    found: dict[str, list[str]] = {}
    for key in adapter.other_tensors():
        path, _, _ = key.removeprefix(FILE_PREFIX).rpartition(".")
        found.setdefault(canonical_path(path, prefix), []).append(key)
    return found
