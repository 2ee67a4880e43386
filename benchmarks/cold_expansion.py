"""A whole adapter expanded into LoRA factors from its file, as a server does on first use."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import nolakit
from nolakit.adapter.files import open_adapter
from nolakit.basis import stream_number, use_backend
from work import OURS, Cost, Work

RANK, NUM_BASIS, WIDTH = 8, 1000, 4096
MODULES = ("q_proj", "v_proj")


def works() -> Iterator[Work]:
    """LLaMA-2-7B q and v, with a basis that layers share and with one for each; against plain LoRA's file."""
    for share_basis, target in ((True, 0.2), (False, 0.6)):
        yield expansion_work(32, share_basis=share_basis, target=target)


def expansion_work(
    layers: int, *, share_basis: bool, target: float | None = None, curve: tuple[str, float] | None = None
) -> Work:
    """q and v of so many layers."""
    folder = Path(tempfile.mkdtemp(prefix="nolakit-bench-"))
    adapter = write_adapter(folder / "nola", layers, share_basis=share_basis)
    lora = nolakit.export_lora(adapter, folder / "lora")
    basis = "shared" if share_basis else "unique"
    factors = 2 * layers * len(MODULES)
    entries = NUM_BASIS * RANK * WIDTH
    return Work(
        f"cold expansion, {layers} layers of 7B, q,v r={RANK} k={NUM_BASIS}, {basis} basis",
        {OURS: lambda: nolakit.expand(adapter), "read a LoRA file": lambda: _read(lora)},
        lambda: _check(adapter, share_basis),
        Cost(multiply_adds=factors * entries, blocks=(2 if share_basis else factors) * entries / 16),
        target_seconds=target,
        curve=curve,
        rounds=5,
    )


def write_adapter(
    folder: Path,
    layers: int,
    *,
    share_basis: bool,
    num_basis: int = NUM_BASIS,
    shapes: dict | None = None,
) -> Path:
    """An adapter folder with random coefficients."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    shapes = shapes or {module: {"lora_A": [RANK, WIDTH], "lora_B": [WIDTH, RANK]} for module in MODULES}
    tensors = {
        f"base_model.model.model.layers.{layer}.self_attn.{module}.{role}.coefficients": torch.randn(
            num_basis, generator=generator
        )
        for layer in range(layers)
        for module in shapes
        for role in ("lora_A", "lora_B")
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    rank = next(iter(shapes.values()))["lora_A"][0]
    config = {
        "peft_type": "NOLAKIT_NOLA", "r": rank, "lora_alpha": rank, "num_basis": num_basis, "seed": 0,
        "share_basis": share_basis, "base_model_prefix": "model", "module_shapes": shapes,
        "target_modules": list(shapes),
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def _read(folder: Path) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in load_file(folder / "adapter_model.safetensors").items()}


def _check(adapter: Path, share_basis: bool) -> None:
    """One factor against the reference backend."""
    path = "layers.0.self_attn.v_proj"
    found = nolakit.expand(adapter)[f"base_model.model.model.{path}.lora_B.weight"]
    coefficients = open_adapter(adapter).load()[f"base_model.model.model.{path}.lora_B.coefficients"]
    stream = stream_number("lora_B", None if share_basis else path)
    with use_backend("reference"):
        expected = nolakit.basis.combine(coefficients, seed=0, stream=stream, size=found.numel())
    torch.testing.assert_close(found.flatten(), expected, rtol=1e-5, atol=1e-5)
