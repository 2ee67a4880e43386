"""From coefficients to LoRA factors, without the base model."""

from __future__ import annotations

from collections.abc import Hashable
from math import prod
from pathlib import Path

import psutil
import torch

from nolakit import methods
from nolakit.adapter.contents import Adapter, ModuleInfo
from nolakit.adapter.files import open_adapter
from nolakit.adapter.paths import FILE_PREFIX
from nolakit.adapter.quantise import quantise, trained_bits
from nolakit.errors import AdapterError, UnsupportedError
from nolakit.methods.base import ROLES, FactorShape


def expand(
    adapter: str | Path | Adapter,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> dict[str, torch.Tensor]:
    """The LoRA factors of an adapter, under the names that PEFT gives them in a LoRA file.

        lora_A, lora_B = factor(coefficients);  update = scaling * lora_B lora_A

    Args:
        adapter: an adapter folder or a packed file.
        dtype: of the result. The factors are summed in float32 and then rounded.
        device: where to compute and leave them; None is the CPU.

    Returns:
        `base_model.model.<path>.lora_A.weight`, shape (rank, in), and `.lora_B.weight`, (out, rank).

    Raises:
        AdapterError: a file that cannot be read, a coefficient that is not finite, or factors that do not fit in
            the memory that is free.
        UnsupportedError: an adapter of a method that is not nolakit's.

    Cost: num_basis multiply-adds for each entry of a factor; a basis that modules of one shape share is
    generated once.
    """
    source = adapter if isinstance(adapter, Adapter) else open_adapter(adapter)
    if not source.computed:
        raise UnsupportedError(
            f"found a {source.method!r} adapter in {source.name!r}; expected one of {', '.join(methods.names())}"
        )
    method = methods.method_class(source.method).from_config(source.config)
    bits = trained_bits(source.config)
    modules = source.checked_modules()
    _check_memory(sum(prod(dims) for module in modules for dims in module.dims.values()), source.name)
    groups: dict[Hashable, list[tuple[ModuleInfo, FactorShape]]] = {}
    for module in modules:
        for role in ROLES:
            shape = FactorShape(role, module.canonical, module.dims[role])
            groups.setdefault(method.group(shape), []).append((module, shape))
    factors = {}
    for members in groups.values():
        coefficients = source.coefficients([(module, shape.role) for module, shape in members])
        if isinstance(coefficients, torch.Tensor) and bits is not None:
            coefficients = quantise(coefficients, bits)  # as training saw them
        shapes = [shape for _, shape in members]
        made = method.expand(coefficients.to(device or "cpu"), shapes)
        for (module, shape), factor in zip(members, made, strict=True):
            factors[f"{FILE_PREFIX}{module.path}.{shape.role}.weight"] = factor.to(dtype)
    return dict(sorted(factors.items()))


def _check_memory(numbers: int, name: str) -> None:
    """A small file may describe large factors; they are refused before the first is made."""
    free = psutil.virtual_memory().available
    if 4 * numbers > free:
        raise AdapterError(
            f"found factors of {4 * numbers:,} bytes in {name!r}; this machine has {free:,} free. Expected an adapter "
            "of a base that fits it"
        )
