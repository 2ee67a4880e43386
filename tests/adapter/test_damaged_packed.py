"""Packed adapters that are damaged or untrue: each gives an error that names the problem."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

import nolakit
from handmade_adapters import config, write_adapter
from nolakit.adapter.container import DESCRIPTION, DIGEST, Stored, digest
from nolakit.errors import AdapterError, NolakitError
from rewriting import rewritten


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    return nolakit.pack(write_adapter(tmp_path_factory.mktemp("adapters") / "adapter"), 8)


def read(data: bytes) -> None:
    """Read, name the modules, and decode the coefficients."""
    nolakit.expand(nolakit.read_packed(data, "x.safetensors"))


def test_the_whole_file_is_read_and_its_rewriting_too(whole):
    read(whole)
    assert rewritten(whole) == whole


def test_every_truncation_is_named(whole):
    for length in [*range(64), *range(64, len(whole), 61)]:
        with pytest.raises(AdapterError, match=r"x\.safetensors"):
            read(whole[:length])
    with pytest.raises(AdapterError):
        read(whole + b"\0")


def test_every_flipped_bit_of_the_content_is_noticed(whole):
    start = 8 + struct.unpack("<Q", whole[:8])[0]
    for at in range(0, len(whole), 7):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << at % 8
        if at >= start:
            with pytest.raises(AdapterError, match=r"x\.safetensors"):
                read(bytes(flipped))
        else:  # names, dtypes and shapes are content; the metadata and the padding are not
            try:
                found = nolakit.read_packed(bytes(flipped))
            except AdapterError:
                continue
            assert found.digest == nolakit.read_packed(whole).digest


@pytest.mark.parametrize("length", [0, 1 << 20, 1 << 31, 1 << 62, (1 << 64) - 1])
def test_a_header_length_that_is_not_the_files(whole, length):
    with pytest.raises(AdapterError, match="not a whole safetensors file"):
        read(struct.pack("<Q", length) + whole[8:])


@pytest.mark.parametrize("name", ["adapter_model.bin", "pickle"])
def test_other_files_are_refused(name):
    import pickle

    data = {"adapter_model.bin": b"PK\3\4" + bytes(100), "pickle": pickle.dumps({"a": 1})}[name]
    with pytest.raises(AdapterError, match="not a whole safetensors file"):
        read(data)
    with pytest.raises(AdapterError, match=DESCRIPTION):
        read(save({"coefficients": torch.zeros(4)}))


SHAPES = config()["module_shapes"]
DESCRIPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"version": 2}, "version 2"),
    ({"version": None}, "version None"),
    ({"bits": 5}, "bits 5"),
    ({"bits": True}, "bits True"),
    ({"bits": 4}, "modules are missing, or too many"),
    ({"bits": [8]}, "bits"),
    ({"config": None}, "config None"),
    ({"config": config(peft_type="LORA")}, "'lora'"),
    ({"config": config(peft_type="NOLAKIT_LATER")}, "'nolakit_later'"),
    ({"config": config(seed=-1)}, "seed -1"),
    ({"config": config(seed=None)}, "seed"),
    ({"config": config(num_basis=7)}, "coefficients a module"),
    ({"config": config(num_basis=1 << 40)}, "coefficients a module"),
    (
        {"config": config(module_shapes=SHAPES | {"q_proj": {"lora_A": [-3, 24], "lora_B": [20, 3]}})},
        "usable shape",
    ),
    ({"config": config(module_shapes={})}, "usable shape"),
    ({"counts": {"lora_A": -6, "lora_B": 4}}, "coefficients a module"),
    ({"counts": None}, "counts None"),
    ({"modules": None}, "module names"),
    ({"modules": []}, "modules are missing, or too many"),
    ({"modules": ["a", "b"]}, "modules are missing, or too many"),
    ({"modules": [["model.layers.", [0, 1 << 31], ".q_proj"]]}, "modules are missing, or too many"),
    (
        {"modules": [["model.layers.", [0, 1], ".q_proj"], "model.layers.1.q_proj"]},
        "'model.layers.1.q_proj' twice",
    ),
    ({"modules": ["../../etc/passwd", "b", "c"]}, "path of named modules"),
    ({"training": 3}, "training 3"),
    ({"dtype": "F64"}, "dtype 'F64'"),
    ({"config": config(base_model_prefix=3)}, "base_model_prefix 3"),
]


@pytest.mark.parametrize(
    "changes, said", DESCRIPTIONS, ids=[json.dumps(changes)[:60] for changes, _ in DESCRIPTIONS]
)
def test_an_untrue_description_is_named(whole, changes, said):
    with pytest.raises(AdapterError, match=said):
        read(rewritten(whole, changes))


SCALES = torch.ones(3, 2)
NUMBERS = torch.ones(30, dtype=torch.int8)
TENSORS: list[tuple[dict[str, Any], str]] = [
    ({"scales": None}, "nothing for the scales"),
    ({"coefficients": None}, "nothing for the coefficients"),
    ({"scales": SCALES * np.nan}, "negative or not finite"),
    ({"scales": SCALES * np.inf}, "negative or not finite"),
    ({"scales": -SCALES}, "negative or not finite"),
    ({"scales": SCALES[:2]}, "modules are missing"),
    ({"scales": SCALES.double()}, "F64"),
    ({"coefficients": NUMBERS[:29]}, "modules are missing"),
    ({"coefficients": NUMBERS.view(torch.uint8)}, "U8"),
    ({"coefficients": NUMBERS * -128}, "outside of the symmetric range"),
    ({"other": torch.zeros(2, dtype=torch.float8_e4m3fn)}, "F8_E4M3"),
]


@pytest.mark.parametrize("tensors, said", TENSORS, ids=[said for _, said in TENSORS])
def test_untrue_tensors_are_named(whole, tensors, said):
    with pytest.raises(AdapterError, match=said):
        read(rewritten(whole, **tensors))


@pytest.mark.parametrize("bits, dtype, number", [(32, torch.float32, np.nan), (16, torch.float16, np.inf)])
def test_coefficients_that_are_not_finite_are_named(whole, bits, dtype, number):
    numbers = torch.ones(30, dtype=dtype)
    numbers[7] = number
    with pytest.raises(AdapterError, match="not finite"):
        read(rewritten(whole, {"bits": bits}, coefficients=numbers))


def test_half_bytes_outside_of_four_bits_are_named(tmp_path):
    odd = config(num_basis_a=5, num_basis_b=5)
    tensors = {
        f"base_model.model.model.{path}.{role}.coefficients": torch.arange(5.0)
        for path in ("layers.0.q_proj", "layers.0.up_proj", "layers.1.q_proj")
        for role in ("lora_A", "lora_B")
    }
    data = nolakit.pack(write_adapter(tmp_path / "odd", tensors, **odd), 4)
    read(data)
    packed = load(data)["coefficients"]
    for at, byte, said in (
        (0, 0x08, "outside"),
        (0, 0x80, "outside"),
        (2, 0x10, "half byte"),
        (17, 0x20, "half byte"),
    ):
        changed = packed.clone()
        changed[at] = byte
        with pytest.raises(AdapterError, match=said):
            read(rewritten(data, coefficients=changed))


@pytest.mark.parametrize(
    "text", [b"[" * 100_000, b'{"version": 1', b"\xff", b'{"version": 1, "x": "\\ud800"}']
)
def test_a_description_that_is_no_json_text_is_refused(whole, text):
    found = load(whole)
    found[DESCRIPTION] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    names = {torch.int8: "I8", torch.uint8: "U8", torch.float32: "F32"}
    stored = {
        name: Stored(names[value.dtype], tuple(value.shape), value.numpy().tobytes())
        for name, value in found.items()
        if name != DIGEST
    }
    found[DIGEST] = torch.frombuffer(bytearray(digest(stored)), dtype=torch.uint8)
    with pytest.raises(AdapterError, match="not JSON"):
        read(save(found))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["lora_A", "nola"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_other_description_gives_a_typed_error_or_the_same_adapter(whole, data):
    said = json.loads(bytes(load(whole)[DESCRIPTION].tolist()))
    place = data.draw(
        st.sampled_from([said, said["config"], said["config"]["module_shapes"], said["counts"]])
    )
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON)
    with suppress(NolakitError):
        read(rewritten(whole, said))


def test_a_file_that_is_no_adapter(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"")
    with pytest.raises(AdapterError, match=r"x\.safetensors"):
        nolakit.open_adapter(tmp_path / "x.safetensors")
    with (tmp_path / "large.safetensors").open("wb") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    with pytest.raises(AdapterError, match="1,099,511,627,776 bytes"):
        nolakit.open_adapter(tmp_path / "large.safetensors")
