"""Packed adapters: what they keep, how small they are, and that they expand to the same bits everywhere."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import nolakit
from backends_here import BACKENDS_HERE
from handmade_adapters import MODULES, coefficients, config
from llama_adapters import RECORD, write_llama_adapter
from nolakit.adapter.quantise import quantise
from nolakit.adapter.update_error import update_error
from nolakit.errors import AdapterError, ConfigError, OutputExistsError, UnsupportedError
from nolakit.methods.nola import Nola
from nolakit.methods.site import Factor, Site

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "packed_v1.json").read_text(encoding="utf-8"))
HEAD = {
    "base_model.model.score.weight": torch.arange(40, dtype=torch.bfloat16).view(2, 20),
    "base_model.model.score.bias": torch.zeros(0),
}
BITS = (32, 16, 8, 4)


@pytest.fixture
def folder(make_adapter) -> Path:
    return make_adapter(tensors=coefficients() | HEAD, modules_to_save=["score"])


@pytest.mark.parametrize("bits", BITS)
def test_everything_is_kept_and_the_digest_is_of_the_content(folder, bits):
    data = nolakit.pack(folder, bits)
    packed = nolakit.read_packed(data)
    assert nolakit.pack(folder, bits) == data
    assert (packed.bits, packed.method, packed.computed) == (bits, "nola", True)
    assert packed.config == config(modules_to_save=["score"])
    assert [module.path for module in packed.modules()] == [f"model.{path}" for path in sorted(MODULES)]
    tensors = packed.load()
    assert all(torch.equal(tensors[key], value) for key, value in HEAD.items())
    tolerance = {32: 0.0, 16: 1e-3, 8: 0.01, 4: 0.2}[bits]
    for key, value in coefficients().items():
        assert tensors[key].dtype == torch.float32
        assert (tensors[key] - value).abs().max() <= tolerance * value.abs().max()
    assert nolakit.pack(packed, bits) == data


def test_a_golden_file_is_read(make_adapter):
    golden = GOLDEN["file"]
    packed = nolakit.read_packed(base64.b64decode(golden["base64"]))
    assert (packed.digest, list(packed.rows)) == (golden["digest"], golden["modules"])
    assert {role: numbers.tolist() for role, numbers in packed.numbers.items()} == golden["numbers"]
    assert packed.scales.tolist() == golden["scales"]
    assert packed.config == config()
    assert nolakit.read_packed(nolakit.pack(make_adapter())).digest == GOLDEN["digest_of_32_bits"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_unpacking_32_bits_restores_the_folder(make_adapter, tmp_path, dtype):
    tensors = {key: value.to(dtype) for key, value in coefficients().items()} | HEAD
    source = make_adapter(tensors=tensors)
    nolakit.write_packed(source, tmp_path / "x.safetensors")
    again = nolakit.unpack(tmp_path / "x.safetensors", tmp_path / "again")
    found = load_file(again / "adapter_model.safetensors")
    assert found.keys() == tensors.keys()
    assert all(
        found[key].dtype == value.dtype and torch.equal(found[key], value) for key, value in tensors.items()
    )
    assert json.loads((again / "adapter_config.json").read_text()) == config()


def test_unpacking_integers_writes_what_they_stand_for(folder, tmp_path):
    nolakit.write_packed(folder, tmp_path / "x.safetensors", bits=4)
    found = load_file(
        nolakit.unpack(tmp_path / "x.safetensors", tmp_path / "again") / "adapter_model.safetensors"
    )
    for key, value in coefficients().items():
        assert torch.equal(found[key], quantise(value[None], 4).dequantised()[0])


@pytest.mark.parametrize("model, num_basis, bits, most", [
    ("llama-2-70b", 512, 8, 600_000), ("llama-2-70b", 512, 4, 305_000), ("llama-2-7b", 128, 4, 34_000),
])  # fmt: skip
def test_sizes(tmp_path, model, num_basis, bits, most):
    packed = nolakit.write_packed(
        write_llama_adapter(tmp_path / "adapter", model, num_basis), tmp_path / "x.safetensors", bits=bits
    )
    assert packed.stat().st_size <= most
    found = nolakit.inspect(packed)
    assert found.weights_bytes == packed.stat().st_size
    assert found.trained == len(found.modules) * 2 * num_basis
    assert found.coefficient_bytes == found.trained * bits // 8 + len(found.modules) * 8
    assert (found.bits, found.config_bytes) == (bits, 0)


def test_the_record_of_the_training_goes_along_without_its_machine(tmp_path):
    packed = nolakit.open_adapter(
        nolakit.write_packed(write_llama_adapter(tmp_path / "a", "llama-2-7b", 2), tmp_path / "x.safetensors")
    )
    assert packed.record is not None
    assert packed.record["columns"] == RECORD["columns"]
    assert packed.record["settings"]["separator"] == "\n"
    assert "somebody" not in json.dumps(packed.record) and "history" not in packed.record


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("share_basis", [True, False])
def test_every_backend_expands_to_the_same_bits(make_adapter, bits, share_basis):
    packed = nolakit.read_packed(nolakit.pack(make_adapter(share_basis=share_basis), bits))
    expanded = []
    for backend, device in BACKENDS_HERE.items():
        with nolakit.basis.use_backend(backend):
            expanded.append(nolakit.expand(packed, device=device))
    assert len(expanded) >= 2
    for other in expanded[1:]:
        assert all(torch.equal(other[key].cpu(), factor.cpu()) for key, factor in expanded[0].items())


@pytest.mark.parametrize("row", GOLDEN["factors"], ids=lambda row: f"{row['role']}-{row['dims']}")
@pytest.mark.parametrize("backend, device", BACKENDS_HERE.items())
def test_factors_are_golden_bit_for_bit(row, backend, device):
    count = len(row["values"])
    method = Nola(seed=row["seed"], num_basis=count, share_basis=row["share_basis"])
    integers = nolakit.basis.Integers(
        torch.tensor([row["values"]], dtype=torch.int8), torch.tensor([row["scale"]])
    )
    with nolakit.basis.use_backend(backend):
        dims = {"lora_A": (1, 1), "lora_B": (1, 1), row["role"]: tuple(row["dims"])}
        site = Site(row["path"], dims["lora_A"], dims["lora_B"])
        (factor,) = method.integer_factors(integers.to(device), [Factor(row["role"], site)])
    bits = factor.cpu().numpy().reshape(-1).view(np.uint32)
    assert [f"{number:08x}" for number in bits.tolist()] == row["bits"]


def test_the_integer_steps_agree_with_the_floating_ones(folder, tmp_path):
    packed = nolakit.write_packed(folder, tmp_path / "x.safetensors", bits=8)
    unpacked = nolakit.expand(nolakit.unpack(packed, tmp_path / "again"))
    for key, factor in nolakit.expand(packed).items():
        torch.testing.assert_close(factor, unpacked[key], rtol=0, atol=1e-6)


def test_the_updates_error_is_that_of_the_materialised_updates(folder, tmp_path):
    packed = nolakit.write_packed(folder, tmp_path / "x.safetensors", bits=4)
    before, after = nolakit.expand(folder), nolakit.expand(packed)
    norm = difference = 0.0
    for key in before:
        if "lora_A" in key:
            key_b = key.replace("lora_A", "lora_B")
            update, other = (f[key_b].double() @ f[key].double() for f in (before, after))
            norm += float(update.square().sum())
            difference += float((other - update).square().sum())
    assert update_error(folder, packed) == pytest.approx((difference / norm) ** 0.5, rel=1e-9)
    assert update_error(folder, folder) < 1e-7


def test_a_packed_folder_is_the_same_adapter(folder, tmp_path):
    place = nolakit.write_packed(folder, tmp_path / "packed", bits=8)
    assert sorted(path.name for path in place.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert nolakit.open_adapter(place).sha256 == nolakit.read_packed(nolakit.pack(folder, 8)).digest
    assert nolakit.inspect(place).bits == 8


def test_exporting_a_packed_file(folder, tmp_path):
    packed = nolakit.write_packed(folder, tmp_path / "x.safetensors", bits=4)
    exported = load_file(nolakit.export_lora(packed, tmp_path / "lora") / "adapter_model.safetensors")
    expected = nolakit.expand(packed) | HEAD
    assert exported.keys() == expected.keys()
    assert all(torch.equal(exported[key], value) for key, value in expected.items())


def test_refusals(make_adapter, tmp_path):
    good = make_adapter("good")
    with pytest.raises(ConfigError, match="found 5 bits"):
        nolakit.pack(good, 5)
    with pytest.raises(UnsupportedError, match="'lora'"):
        nolakit.pack(make_adapter("lora", peft_type="LORA"))
    for bits in BITS:
        bad = make_adapter(f"bad{bits}", tensors={key: value / 0 for key, value in coefficients().items()})
        with pytest.raises(AdapterError, match="not finite"):
            nolakit.pack(bad, bits)
    with pytest.raises(AdapterError, match="float16 cannot hold"):
        nolakit.pack(make_adapter("large", tensors={k: v * 1e6 for k, v in coefficients().items()}), 16)
    with pytest.raises(AdapterError, match="F64"):
        nolakit.pack(make_adapter("wide", tensors={k: v.double() for k, v in coefficients().items()}))


def test_nothing_is_overwritten_unasked_or_left_half_written(folder, tmp_path):
    target = nolakit.write_packed(folder, tmp_path / "out" / "x.safetensors", bits=8)
    before = target.read_bytes()
    with pytest.raises(OutputExistsError):
        nolakit.write_packed(folder, target)
    assert target.read_bytes() == before
    nolakit.write_packed(folder, target, bits=4, overwrite=True)
    assert target.read_bytes() == nolakit.pack(folder, 4)
    assert [path.name for path in target.parent.iterdir()] == ["x.safetensors"]


def test_opening_and_inspecting_need_no_torch(folder, tmp_path):
    packed = nolakit.write_packed(folder, tmp_path / "x.safetensors", bits=4)
    code = (
        "import sys, nolakit\n"
        f"found = nolakit.inspect({str(packed)!r})\n"
        f"assert nolakit.read_packed(open({str(packed)!r}, 'rb').read()).digest == found.digest\n"
        "print(found.trained, 'torch' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["30", "False"]
