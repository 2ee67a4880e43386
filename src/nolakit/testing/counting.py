"""How many numbers are trained, and that no others are stored."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from torch import nn

from nolakit.adapter.files import open_adapter
from nolakit.adapter.packed_files import write_packed
from nolakit.testing.adapting import coefficients, config_for, moved
from nolakit.testing.row import ONE_MODULE, Modules, Row

LLAMA_LAYERS, LLAMA_WIDTH = 32, 4096
FILE_HEADER, TENSOR_HEADER = 128, 224  # bytes, at most: names, dtypes, shapes, offsets
PACKED_HEADER, PACKED_TENSOR = 3072, 96  # the configuration is inside


def counts_as_published(row: Row) -> None:
    """The numbers that are trained on the row's shapes, which are at least three."""
    assert len(row.counts) >= 3, f"found {len(row.counts)} counts; expected three shapes or models at least"
    for modules, expected in row.counts:
        found = _trained(row, _model(modules))
        assert found == expected, f"on {modules}: found {found:,} trained numbers; expected {expected:,}"


def counts_llama_2_7b(row: Row) -> None:
    """The numbers for q_proj and v_proj of LLaMA-2-7B."""
    names = ("q_proj", "v_proj")
    shapes = {
        f"model.layers.{layer}.self_attn.{name}": (LLAMA_WIDTH, LLAMA_WIDTH)
        for layer in range(LLAMA_LAYERS)
        for name in names
    }
    options, expected = row.llama
    found = _trained(row, _model(shapes), **options)
    assert found == expected, f"found {found:,} trained numbers for LLaMA-2-7B; expected {expected:,}"


def stores_only_its_numbers(row: Row) -> None:
    """The adapter's file is 4 bytes a trained number and a header: no basis, projection or expanded factor; the packed
    file likewise."""
    for base in row.bases:
        model = moved(row, base)
        trained = coefficients(model)
        numbers = sum(value.numel() for value in trained.values())
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "adapter"
            model.save_pretrained(str(folder))
            adapter = open_adapter(folder)
            beside = adapter.part_tensors()
            if row.stored_beside is None:
                assert not beside, f"on {base}: found {sorted(beside)} stored; expected trained numbers alone"
            assert not adapter.other_tensors(), f"found {sorted(adapter.other_tensors())} stored"
            assert len(adapter.own_tensors()) == len(trained)
            size = (folder / "adapter_model.safetensors").stat().st_size
            extra = sum(info.bytes + TENSOR_HEADER for info in beside.values())
            most = 4 * numbers + TENSOR_HEADER * len(trained) + FILE_HEADER + extra
            assert size <= most, f"on {base}: found a file of {size:,} bytes; expected at most {most:,}"
            packed = write_packed(folder, Path(place) / "packed.safetensors", bits=32).stat().st_size
            most = 4 * numbers + PACKED_TENSOR * len(trained) + PACKED_HEADER + extra
            assert packed <= most, f"on {base}: found {packed:,} bytes packed; expected at most {most:,}"


def _trained(row: Row, model: nn.Module, **options: Any) -> int:
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    config = config_for(row, target_modules=names, **options)
    adapted = get_peft_model(model, config, low_cpu_mem_usage=True)  # pyright: ignore[reportArgumentType]
    return adapted.get_nb_trainable_parameters()[0]


def _model(modules: Modules) -> nn.Module:
    """Linear layers at paths, without values."""
    shapes = modules if isinstance(modules, Mapping) else {ONE_MODULE: modules}
    model = nn.Module()
    for path, (outputs, inputs) in shapes.items():
        parent = model
        *parents, last = path.split(".")
        for name in parents:
            if not hasattr(parent, name):
                parent.add_module(name, nn.Module())
            parent = parent.get_submodule(name)
        parent.add_module(last, nn.Linear(inputs, outputs, bias=False, device=torch.device("meta")))
    return model
