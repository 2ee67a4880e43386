"""Checkpoints of the official code that are not whole."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from attacks import raw
from attacks.folder_damage import Damage, configured, instead, tensors, written
from attacks.limits import command_refused, refused
from attacks.whole import official_tensors, write_official
from nolakit import import_official

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A"
BROKEN = raw.not_safetensors(raw.joined({"a": raw.F32}, bytes(4)))


def part(name: str, value: torch.Tensor) -> Damage:
    return tensors(lambda found: found.update({f"{FIRST}.{name}": value}))


def without(name: str) -> Damage:
    return tensors(lambda found: found.pop(f"{FIRST}.{name}"))


def pickled(name: str) -> Damage:
    return instead(WEIGHTS, lambda path: path.with_name(name).write_bytes(pickle.dumps(raw.Trap())))


def recorded(device: str) -> Damage:
    return lambda folder: save_file(official_tensors(), folder / WEIGHTS, metadata={"device": device})


ATTACKS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a pickle": (pickled("adapter_model.bin"), "opens no pickles"),
    "a pickle by another name": (pickled("adapter_model.pt"), "opens no pickles"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "found no adapter_model"),
    "no configuration": (lambda folder: (folder / CONFIG).unlink(), "found no adapter_config"),
    "a configuration of no JSON": (written("{"), "not JSON"),
    "nested too deep": (written("[" * 100_000), "nested"),
    "no NOLA": (configured(use_nola=False), "without use_nola"),
    "another device": (recorded("tpu v4"), "leave it out"),
    "no seed": (without("seed"), "seed"),
    "no start": (without("weight"), "weight"),
    "no coefficients at all": (
        tensors(lambda found: [found.pop(key) for key in list(found)]),
        "coefficients",
    ),
    "a seed that is a fraction": (part("seed", torch.tensor([0.5])), "seed that is no integer"),
    "two seeds": (part("seed", torch.tensor([1, 2])), "seed that is no integer"),
    "no numbers in the seed": (part("seed", torch.zeros(0, dtype=torch.int64)), "seed that is no integer"),
    "a truth for a seed": (part("seed", torch.tensor([True])), "seed that is no integer"),
    "no coefficients": (part("coefficients", torch.zeros(0)), "expected a lora_A"),
    "a matrix of coefficients": (part("coefficients", torch.ones(5, 1)), "expected a lora_A"),
    "integer coefficients": (part("coefficients", torch.ones(5, dtype=torch.int8)), "not finite floats"),
    "NaN": (part("coefficients", torch.full((5,), torch.nan)), "not finite floats"),
    "infinite": (part("coefficients", torch.full((5,), torch.inf)), "not finite floats"),
    "a start that is NaN": (part("weight", torch.full((3, 24), torch.nan)), "not finite floats"),
    "a start that is a vector": (part("weight", torch.zeros(3)), "expected a lora_A"),
    "an empty start": (part("weight", torch.zeros(0, 24)), "expected a lora_A"),
    "a basis beyond the memory": (
        lambda folder: (
            part("coefficients", torch.ones(1 << 20, dtype=torch.float16))(folder),
            part("weight", torch.zeros(1 << 8, 1 << 10, dtype=torch.float16))(folder),
        ),
        "bytes at once",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_checkpoint_that_is_none(tmp_path: Path, attack: str, place: Path) -> None:
    damage, said = ATTACKS[attack]
    folder = write_official(tmp_path / "official")
    damage(folder)
    refused(lambda out: import_official(folder, out, made_on="cpu"), said, place)
    output = place / "new" / "output"
    command_refused("import-official", folder, "--made-on", "cpu", "-o", output, said=said, place=place)


@pytest.mark.parametrize("attack", BROKEN)
def test_weights_that_are_no_safetensors_file(tmp_path: Path, attack: str, place: Path) -> None:
    folder = write_official(tmp_path / "official")
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(raw.not_safetensors(whole)[attack])
    refused(lambda out: import_official(folder, out, made_on="cpu"), WEIGHTS, place)
