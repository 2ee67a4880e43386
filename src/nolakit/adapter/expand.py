"""From coefficients to LoRA factors, without the base model."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path

import torch

from nolakit import methods
from nolakit.adapter.files import COEFFICIENTS, AdapterFile, open_adapter
from nolakit.adapter.paths import FILE_PREFIX
from nolakit.errors import AdapterError, UnsupportedError
from nolakit.methods.base import ROLES, FactorShape


def expand(
    adapter: str | Path | AdapterFile,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> dict[str, torch.Tensor]:
    """The LoRA factors of an adapter, under the names that PEFT gives them in a LoRA file.

        lora_A, lora_B = factor(coefficients);  update = scaling * lora_B lora_A

    Args:
        adapter: an adapter folder.
        dtype: of the result. The factors are summed in float32 and then rounded.
        device: where to compute and leave them; None is the CPU.

    Returns:
        `base_model.model.<path>.lora_A.weight`, shape (rank, in), and `.lora_B.weight`, (out, rank).

    Raises:
        AdapterError: a file that cannot be read, or a coefficient that is not finite.
        UnsupportedError: an adapter of a method that is not nolakit's.

    Cost: num_basis multiply-adds for each entry of a factor; a basis that modules of one shape share is
    generated once.
    """
    file = adapter if isinstance(adapter, AdapterFile) else open_adapter(adapter)
    if not file.computed:
        raise UnsupportedError(
            f"found a {file.method!r} adapter in {str(file.folder)!r}; expected one of {', '.join(methods.names())}"
        )
    method = methods.method_class(file.method).from_config(file.config)
    with file.open_tensors() as tensors:
        groups: dict[Hashable, list[tuple[str, FactorShape, torch.Tensor]]] = {}
        for module in file.modules():
            for role in ROLES:
                name = f"{FILE_PREFIX}{module.path}.{role}"
                shape = FactorShape(role, module.canonical, module.dims[role])
                groups.setdefault(method.group(shape), []).append(
                    (name, shape, tensors.get_tensor(f"{module.key}.{role}.{COEFFICIENTS}").float())
                )
    factors = {}
    for members in groups.values():
        names, shapes, coefficients = zip(*members, strict=True)
        stacked = torch.stack(coefficients)
        for name, finite in zip(names, stacked.isfinite().all(dim=1).tolist(), strict=True):
            if not finite:
                raise AdapterError(
                    f"found coefficients of {name!r} that are not finite; the training diverged"
                )
        made = method.factors(stacked.to(device or "cpu"), shapes)
        for name, factor in zip(names, made, strict=True):
            factors[f"{name}.weight"] = factor.to(dtype)
    return dict(sorted(factors.items()))
