"""What an adapter is, from its folder or packed file alone: no base model, no torch, no transformers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from nolakit import methods
from nolakit.adapter.contents import Adapter
from nolakit.adapter.files import open_adapter
from nolakit.methods.site import ROLES, Factor


@dataclass(frozen=True)
class ModuleRow:
    """One adapted module. `lora_numbers` is what its factors hold once expanded, or its update where it has none."""

    path: str
    rank: int
    in_features: int
    out_features: int
    trained: int
    lora_numbers: int


@dataclass(frozen=True)
class Inspection:
    """What `inspect` found. Bytes are of files; `trained` counts coefficients, `trained_other` what was trained whole
    (heads, biases, token embeddings), `stored_parts` the numbers of frozen parts in the file; `bits` are a stored
    coefficient's, `digest` a packed file's."""

    method: str
    base_model: str | None
    task_type: str | None
    seed: int | None
    settings: dict[str, Any]
    trained: int
    trained_other: int
    stored_parts: int
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
        settings=_settings(file),
        trained=sum(info.numbers for info in trained),
        trained_other=sum(info.numbers for info in other),
        stored_parts=sum(info.numbers for info in file.part_tensors().values()),
        bits=file.bits,
        digest=file.sha256,
        coefficient_bytes=file.coefficient_bytes,
        weights_bytes=file.file_bytes[0],
        config_bytes=file.file_bytes[1],
        lora_numbers=sum(row.lora_numbers for row in rows),
        base_fingerprint=file.config.get("base_fingerprint"),
        modules=rows,
    )


def _settings(file: Adapter) -> dict[str, Any]:
    """The options of the method that the configuration sets."""
    own = [name for name, _ in methods.method_class(file.method).options()] if file.computed else []
    names = dict.fromkeys(["r", *own, "lora_alpha", "use_rslora", "coefficient_basis", "coefficient_bits"])
    return {name: file.config[name] for name in names if name != "seed" and file.config.get(name) is not None}


def _rows(file: Adapter) -> list[ModuleRow]:
    modules = file.checked_modules()
    method = file.bound_method(modules)
    return [
        ModuleRow(
            path=module.path,
            rank=min(module.site.outputs, module.site.inputs) if method.dense else method.rank(module.site),
            in_features=module.site.inputs,
            out_features=module.site.outputs,
            trained=sum(info.numbers for info in module.coefficients.values()),
            lora_numbers=sum(
                prod(method.dims(Factor(role, module.site)))
                for role in ROLES
                if role == "lora_A" or not method.dense
            ),
        )
        for module in modules
    ]
