"""From coefficients to LoRA factors, without the base model."""

from __future__ import annotations

from pathlib import Path

import torch

from nolakit import methods
from nolakit.adapter.files import AdapterFile, open_adapter
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

    Cost: num_basis multiply-adds for each entry of a factor.
    """
    file = adapter if isinstance(adapter, AdapterFile) else open_adapter(adapter)
    if not file.computed:
        raise UnsupportedError(
            f"found a {file.method!r} adapter in {str(file.folder)!r}; expected one of {', '.join(methods.names())}"
        )
    method = methods.method_class(file.method).from_config(file.config)
    factors = {}
    with file.open_tensors() as tensors:
        for module in file.modules():
            for role in ROLES:
                name = f"{FILE_PREFIX}{module.path}.{role}"
                coefficients = tensors.get_tensor(f"{name}.coefficients").to(device or "cpu")
                if not torch.isfinite(coefficients).all():
                    raise AdapterError(
                        f"found coefficients of {name!r} that are not finite; the training diverged"
                    )
                shape = FactorShape(role, module.canonical, module.dims[role])
                factors[f"{name}.weight"] = method.factor(coefficients, shape).to(dtype)
    return factors
