"""What an adapter is, from its folder or packed file alone: no base model, no torch, no transformers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from nolakit.adapter.contents import Adapter
from nolakit.adapter.files import open_adapter


@dataclass(frozen=True)
class ModuleRow:
    """One adapted module. `lora_numbers` is what its factors hold once expanded."""

    path: str
    rank: int
    in_features: int
    out_features: int
    trained: int
    lora_numbers: int


@dataclass(frozen=True)
class Inspection:
    """What `inspect` found. Bytes are of files; `trained` counts coefficients, `trained_other` all else that
    is stored (heads, biases, token embeddings); `bits` are a stored coefficient's, `digest` a packed file's."""

    method: str
    base_model: str | None
    task_type: str | None
    seed: int | None
    settings: dict[str, Any]
    trained: int
    trained_other: int
    bits: int
    digest: str | None
    coefficient_bytes: int
    weights_bytes: int
    config_bytes: int
    lora_numbers: int
    base_fingerprint: dict[str, Any] | None
    modules: list[ModuleRow]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def inspect(adapter: str | Path) -> Inspection:
    """Describe an adapter folder or packed file of nolakit, or of another PEFT method as far as its file goes.

    Raises:
        AdapterError: as `nolakit.adapter.files.open_adapter`.
    """
    file = open_adapter(adapter)
    rows = _rows(file) if file.computed else []
    trained, other = file.own_tensors().values(), file.other_tensors().values()
    return Inspection(
        method=file.method,
        base_model=file.config.get("base_model_name_or_path"),
        task_type=file.config.get("task_type"),
        seed=file.config.get("seed"),
        settings={
            name: file.config[name]
            for name in (
                "r",
                "num_basis",
                "num_basis_a",
                "num_basis_b",
                "share_basis",
                "lora_alpha",
                "use_rslora",
            )
            if file.config.get(name) is not None
        },
        trained=sum(info.numbers for info in trained),
        trained_other=sum(info.numbers for info in other),
        bits=file.bits,
        digest=file.sha256,
        coefficient_bytes=file.coefficient_bytes,
        weights_bytes=file.file_bytes[0],
        config_bytes=file.file_bytes[1],
        lora_numbers=sum(row.lora_numbers for row in rows),
        base_fingerprint=file.config.get("base_fingerprint"),
        modules=rows,
    )


def _rows(file: Adapter) -> list[ModuleRow]:
    return [
        ModuleRow(
            path=module.path,
            rank=module.dims["lora_A"][0],
            in_features=prod(module.dims["lora_A"][1:]),
            out_features=module.dims["lora_B"][0],
            trained=sum(info.numbers for info in module.coefficients.values()),
            lora_numbers=sum(prod(dims) for dims in module.dims.values()),
        )
        for module in file.checked_modules()
    ]
