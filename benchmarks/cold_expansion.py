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
from work import Work

RANK, NUM_BASIS, WIDTH, LAYERS, MODULES = 8, 1000, 4096, 32, ("q_proj", "v_proj")


def works() -> Iterator[Work]:
    """LLaMA-2-7B q and v, with a basis that layers share and with one for each; against plain LoRA's file."""
    folder = Path(tempfile.mkdtemp(prefix="nolakit-bench-"))
    lora = nolakit.export_lora(_adapter(folder / "for-lora", share_basis=True), folder / "lora")
    for share_basis, target in ((True, 0.2), (False, 0.6)):
        adapter = _adapter(folder / f"share-{share_basis}", share_basis=share_basis)
        yield Work(
            f"cold expansion, 7B q,v r={RANK} k={NUM_BASIS}, {'shared' if share_basis else 'unique'} basis",
            {"nolakit": lambda a=adapter: nolakit.expand(a), "read LoRA file": lambda: _read(lora)},
            lambda a=adapter, s=share_basis: _check(a, s),
            "read LoRA file",
            target_seconds=target,
            amount=NUM_BASIS * 2 * RANK * WIDTH * LAYERS * len(MODULES),
            rounds=5,
        )


def _adapter(folder: Path, *, share_basis: bool) -> Path:
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    tensors = {
        f"base_model.model.model.layers.{layer}.self_attn.{module}.{role}.coefficients": torch.randn(
            NUM_BASIS, generator=generator
        )
        for layer in range(LAYERS)
        for module in MODULES
        for role in ("lora_A", "lora_B")
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    shapes = {module: {"lora_A": [RANK, WIDTH], "lora_B": [WIDTH, RANK]} for module in MODULES}
    config = {
        "peft_type": "NOLAKIT_NOLA", "r": RANK, "lora_alpha": RANK, "num_basis": NUM_BASIS, "seed": 0,
        "share_basis": share_basis, "base_model_prefix": "model", "module_shapes": shapes,
        "target_modules": list(MODULES),
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def _read(folder: Path) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in load_file(folder / "adapter_model.safetensors").items()}


def _check(adapter: Path, share_basis: bool) -> None:
    """One factor against the reference backend."""
    path = "layers.3.self_attn.v_proj"
    found = nolakit.expand(adapter)[f"base_model.model.model.{path}.lora_B.weight"]
    coefficients = open_adapter(adapter).load()[f"base_model.model.model.{path}.lora_B.coefficients"]
    stream = stream_number("lora_B", None if share_basis else path)
    with use_backend("reference"):
        expected = nolakit.basis.combine(coefficients, seed=0, stream=stream, size=found.numel())
    torch.testing.assert_close(found.flatten(), expected, rtol=1e-5, atol=1e-5)
