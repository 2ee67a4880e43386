"""Expansion and LoRA export against the specification's equations, written out in plain numpy."""

from __future__ import annotations

import hashlib
import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import nolakit
from handmade_adapters import MODULES, NUM_BASIS, RANK, SEED, coefficients
from nolakit.errors import AdapterError, OutputExistsError, UnsupportedError


def spec_bytes(stream_name: str, count: int, size: int) -> np.ndarray:
    """Basis entries in float64 from the specification. # shape: (count, size)"""
    stream = int.from_bytes(hashlib.sha256(stream_name.encode()).digest()[:8], "little")
    from plain_philox import basis_bytes

    rows = [np.frombuffer(basis_bytes(SEED, stream, index, 0, size), np.uint8) for index in range(count)]
    return (2.0 * np.stack(rows) - 255) / 256


def spec_factors(path: str, share_basis: bool) -> dict[str, np.ndarray]:
    """lora_A and lora_B of one module by section 5 of the specification."""
    inputs, outputs = MODULES[path]
    own = "" if share_basis else "/" + path
    numbers = {key: value.double().numpy() for key, value in coefficients().items()}
    alpha = numbers[f"base_model.model.model.{path}.lora_A.coefficients"]
    beta = numbers[f"base_model.model.model.{path}.lora_B.coefficients"]
    start = spec_bytes(f"lora_A0/{path}", 1, RANK * inputs)[0] / math.sqrt(inputs)
    lora_a = start + alpha @ spec_bytes("lora_A" + own, NUM_BASIS, RANK * inputs) / math.sqrt(NUM_BASIS)
    lora_b = beta @ spec_bytes("lora_B" + own, 4, outputs * RANK) / math.sqrt(4)
    return {"lora_A": lora_a.reshape(RANK, inputs), "lora_B": lora_b.reshape(outputs, RANK)}


@pytest.mark.parametrize("share_basis", [True, False])
def test_factors_are_the_specification(make_adapter, share_basis):
    factors = nolakit.expand(make_adapter(share_basis=share_basis))
    assert len(factors) == 2 * len(MODULES)
    for path in MODULES:
        for role, expected in spec_factors(path, share_basis).items():
            found = factors[f"base_model.model.model.{path}.{role}.weight"]
            assert found.dtype == torch.float32
            assert np.abs(found.double().numpy() - expected).max() < 2e-6


def test_factors_are_rounded_once_to_the_dtype_asked_for(make_adapter):
    folder = make_adapter()
    wide = nolakit.expand(folder)
    for dtype in (torch.bfloat16, torch.float16):
        for key, factor in nolakit.expand(folder, dtype=dtype).items():
            assert torch.equal(factor, wide[key].to(dtype))


def test_exported_lora_holds_the_factors_and_everything_else(make_adapter, tmp_path):
    extra = {"base_model.model.score.weight": torch.randn(2, 20)}
    folder = make_adapter(
        tensors=coefficients() | extra, modules_to_save=["score"], alpha_pattern={"up_proj": 3}
    )
    out = nolakit.export_lora(folder, tmp_path / "lora")
    tensors = load_file(out / "adapter_model.safetensors")
    factors = nolakit.expand(folder)
    assert set(tensors) == set(factors) | set(extra)
    assert all(torch.equal(tensors[key], value) for key, value in (factors | extra).items())
    written = json.loads((out / "adapter_config.json").read_text())
    assert written["peft_type"] == "LORA"
    assert (written["r"], written["lora_alpha"], written["alpha_pattern"]) == (RANK, 12, {"up_proj": 3})
    assert "seed" not in written and "num_basis" not in written


def test_an_output_is_neither_overwritten_unasked_nor_half_written(make_adapter, tmp_path):
    good, out = make_adapter("good"), tmp_path / "lora"
    nolakit.export_lora(good, out)
    before = (out / "adapter_model.safetensors").read_bytes()
    with pytest.raises(OutputExistsError, match="lora"):
        nolakit.export_lora(good, out)
    bad = make_adapter("bad", tensors={key: value / 0 for key, value in coefficients().items()})
    with pytest.raises(AdapterError, match="not finite"):
        nolakit.export_lora(bad, out, overwrite=True)
    with pytest.raises(AdapterError, match="not finite"):
        nolakit.export_lora(bad, tmp_path / "other")
    assert (out / "adapter_model.safetensors").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "good", "lora"]
    nolakit.export_lora(good, out, overwrite=True)


def test_names_that_wrappers_added_are_left_out(make_adapter):
    wrapped = {
        key.replace("layers.0.", "layers.0._orig_mod."): value for key, value in coefficients().items()
    }
    plain, found = nolakit.expand(make_adapter("plain")), nolakit.expand(make_adapter(tensors=wrapped))
    assert all(torch.equal(found[key], value) for key, value in plain.items())
    assert found.keys() == plain.keys()


def test_an_adapter_of_another_method_is_refused(make_adapter):
    with pytest.raises(UnsupportedError, match="'lora'"):
        nolakit.expand(make_adapter(peft_type="LORA"))
