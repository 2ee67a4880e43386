"""Basis v1 bit for bit: generator, addresses, entries and streams, on every backend and in another process."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from backends_here import BACKENDS_HERE
from nolakit.basis import combine, stream_number, use_backend, vector
from nolakit.basis.philox import philox4x32
from nolakit.basis.reference import entry_bytes
from plain_philox import basis_bytes, philox4x32_10

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "basis_v1.json").read_text(encoding="utf-8"))
KNOWN_ANSWERS = [  # Random123's published vectors
    ("00000000" * 4, "00000000" * 2, "6627e8d5e169c58dbc57ac4c9b00dbd8"),
    ("ffffffff" * 4, "ffffffff" * 2, "408f276d41c83b0ea20bc7c66d5451fd"),
    ("243f6a8885a308d313198a2e03707344", "a4093822299f31d0", "d16cfe0994fdcceb5001e42024126ea1"),
]


def words(text: str) -> tuple[int, ...]:
    return tuple(int(text[at : at + 8], 16) for at in range(0, len(text), 8))


def combined_bytes(seed: int, stream: int, num_basis: int, size: int, device: str) -> bytes:
    """The bytes of a whole basis, read back through `combine` with one-hot coefficients: exact, because each
    sum has one term and the scale is a power of two."""
    one_hot = torch.eye(num_basis, device=device) * num_basis**0.5
    values = combine(one_hot, seed=seed, stream=stream, size=size)
    return ((values * 256 + 255) / 2).to(torch.uint8).flatten().cpu().numpy().tobytes()


@pytest.mark.parametrize("counter, key, output", KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter, key, output):
    tensors = tuple(torch.tensor(word) for word in words(counter))
    assert tuple(int(word) for word in philox4x32(tensors, words(key))) == words(output)
    assert philox4x32_10(words(counter), words(key)) == words(output)


@pytest.mark.parametrize(
    "row", GOLDEN["vectors"], ids=lambda row: f"{row['seed']}-{row['index']}-{row['start']}"
)
def test_bytes_are_golden(row):
    start, length = row["start"], len(row["bytes"]) // 2
    generated = entry_bytes(
        row["seed"], row["stream"], torch.tensor([row["index"]]), start // 16, -(-(start + length) // 16)
    )
    at = start % 16
    assert bytes(generated[0, at : at + length].tolist()).hex() == row["bytes"]
    assert basis_bytes(row["seed"], row["stream"], row["index"], start, length).hex() == row["bytes"]


@pytest.mark.parametrize("backend, device", BACKENDS_HERE.items())
@pytest.mark.parametrize(
    "seed, name, num_basis, size", [(0, "lora_A", 4, 1500), (2**64 - 1, "lora_B", 16, 2049)]
)
def test_every_backend_makes_the_same_bytes(backend, device, seed, name, num_basis, size):
    stream = stream_number(name)
    expected = b"".join(basis_bytes(seed, stream, index, 0, size) for index in range(num_basis))
    with use_backend(backend):
        assert combined_bytes(seed, stream, num_basis, size, device) == expected


@pytest.mark.parametrize("row", GOLDEN["digests"], ids=lambda row: str(row["size"]))
def test_whole_bases_are_golden(row):
    num_basis = row["num_basis"]
    generated = entry_bytes(row["seed"], row["stream"], torch.arange(num_basis), 0, -(-row["size"] // 16))
    flat = generated[:, : row["size"]].contiguous().numpy().tobytes()
    assert hashlib.sha256(flat).hexdigest() == row["sha256"]


@pytest.mark.parametrize("name, number", GOLDEN["streams"].items())
def test_streams_are_golden(name, number):
    role, _, path = name.partition("/")
    assert stream_number(role, path or None) == number


@pytest.mark.parametrize("backend, device", BACKENDS_HERE.items())
def test_a_smaller_vector_is_a_prefix(backend, device):
    with use_backend(backend):
        long = vector(5000, seed=3, stream=9, device=device)
        assert torch.equal(vector(1237, seed=3, stream=9, device=device), long[:1237])


@pytest.mark.parametrize("backend, device", BACKENDS_HERE.items())
def test_a_bounded_vector_is_rounded_once(backend, device):
    bound = 1 / 384**0.5
    with use_backend(backend):
        entries = vector(4096, seed=5, stream=6, device=device)
        bounded = vector(4096, seed=5, stream=6, bound=bound, device=device)
    expected = entries.double() * torch.tensor(bound, dtype=torch.float32).double()
    assert torch.equal(bounded, expected.float())


def test_another_process_makes_the_same_basis():
    code = (
        "import hashlib, nolakit.basis as b\n"
        "s = b.stream_number('lora_A', 'layers.0.mlp')\n"
        "print(s, hashlib.sha256(b.vector(9999, seed=7, stream=s).numpy().tobytes()).hexdigest())\n"
    )
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "12345",
        "NOLAKIT_BACKEND": "reference",
        "OMP_NUM_THREADS": "1",
    }
    printed = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    stream = stream_number("lora_A", "layers.0.mlp")
    here = hashlib.sha256(vector(9999, seed=7, stream=stream).numpy().tobytes()).hexdigest()
    assert printed.split() == [str(stream), here]


def test_entries_are_exact_in_half_precision():
    every_byte = (2 * torch.arange(256) - 255) / 256
    for dtype in (torch.bfloat16, torch.float16):
        assert torch.equal(every_byte.to(dtype).float(), every_byte)
