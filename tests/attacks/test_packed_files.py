"""Packed files: every reader and every command refuses what is not whole or not true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from attacks import raw
from attacks.limits import command_refused, refused, tried
from attacks.readers import COMMANDS, Read, command, readers
from attacks.whole import SHAPES
from handmade_adapters import config
from rewriting import rewritten

BROKEN = raw.not_safetensors(raw.joined({"a": raw.F32}, bytes(4)))
GIANT = {"q_proj": {"lora_A": [1 << 31, 1 << 31], "lora_B": [1 << 31, 1 << 31]}}
FULL = {name: {"lora_A": [1, 1 << 28], "lora_B": [1 << 28, 1]} for name in ("q_proj", "up_proj")}
UNTRUE: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {  # description, tensors, what is said
    "version": ({"version": 2}, {}, "version 2"),
    "modules twice": ({"modules": [["model.layers.", [0, 1], ".q"], "model.layers.1.q"]}, {}, "twice"),
    "modules missing": ({"modules": ["a", "b"]}, {}, "missing, or too many"),
    "a billion layers": ({"modules": [["a.", [0, 10**9], ".q_proj"]]}, {}, "missing, or too many"),
    "layers to the fourth": ({"modules": [[[0, 1 << 31], ".", [0, 1 << 31], ".", [0, 1 << 31]]]}, {}, "missing, or"),
    "negative layers": ({"modules": [["a.", [-5, 5], ".q_proj"]]}, {}, "module names"),
    "module names nested": ({"modules": [[[["a"]]]]}, {}, "module names"),
    "a path up": ({"modules": ["../../etc/passwd", "b", "c"]}, {}, "path of named modules"),
    "a terminal's escape": ({"modules": ["a.\x1b[31mq_proj", "b", "c"]}, {}, "path of named modules"),
    "a long name": ({"modules": ["a" * 70_000, "b", "c"]}, {}, "path of named modules"),
    "counts": ({"counts": {"lora_A": 5, "lora_B": 4}}, {}, "coefficients a module"),
    "negative counts": ({"counts": {"lora_A": -6, "lora_B": 4}}, {}, "coefficients a module"),
    "huge counts": ({"counts": {"lora_A": 10**30, "lora_B": 4}}, {}, "coefficients a module"),
    "giant shapes": ({"config": config(module_shapes=SHAPES | GIANT)}, {}, "usable shape"),
    "zero shapes": ({"config": config(module_shapes={"q_proj": {"lora_A": [0, 4], "lora_B": [4, 0]}})}, {}, "usable"),
    "fingerprint of more": ({"config": config(module_shapes=SHAPES, base_fingerprint={"modules": 4})}, {}, "missing"),
    "no scales": ({}, {"scales": None}, "scales"),
    "scales NaN": ({}, {"scales": torch.full((3, 2), torch.nan)}, "not finite"),
    "scales infinite": ({}, {"scales": torch.full((3, 2), torch.inf)}, "not finite"),
    "scales negative": ({}, {"scales": -torch.ones(3, 2)}, "negative"),
    "scales too few": ({}, {"scales": torch.ones(2, 2)}, "missing, or too many"),
    "coefficients too few": ({}, {"coefficients": torch.ones(29, dtype=torch.int8)}, "missing, or too many"),
    "coefficients twice": ({}, {"base.q.lora_A.coefficients": torch.ones(6)}, "beside its coefficients"),
    "an unknown dtype": ({}, {"other": torch.zeros(2, dtype=torch.float8_e4m3fn)}, "F8_E4M3"),
}  # fmt: skip
LATE = {  # seen when the coefficients are decoded, so not by what only describes an adapter
    "not in range": ({}, {"coefficients": torch.full((30,), -128, dtype=torch.int8)}, "symmetric range"),
    "NaN": ({"bits": 32}, {"coefficients": torch.full((30,), torch.nan)}, "not finite"),
    "infinite": ({"bits": 16}, {"coefficients": torch.full((30,), torch.inf).half()}, "not finite"),
}  # fmt: skip
LARGE = {  # seen by what expands; the base of `merged` has no such modules, which it sees first
    "factors of a terabyte": (
        {"modules": [["model.layers.", [0, 999], ".q_proj"]], "config": config(module_shapes=FULL)},
        {"coefficients": torch.ones(10_000, dtype=torch.int8), "scales": torch.ones(1000, 2)},
        "bytes in .* free",
    ),
}  # fmt: skip
DESCRIBING = ("open", "inspect", "load")
NOT_EXPANDING = (*DESCRIBING, "pack", "write packed", "unpack", "merged")


def through_every_reader(path: Path, base: Path, said: str, place: Path, but: tuple[str, ...] = ()) -> None:
    for name, read in readers(base).items():
        if name not in but:
            refused(lambda out, read=read: read(path, out), said, place)


@pytest.mark.parametrize("attack", BROKEN)
def test_what_is_no_safetensors_file(
    packed: bytes, attack: str, tmp_path: Path, base: Path, place: Path
) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw.not_safetensors(packed)[attack])
    through_every_reader(path, base, r"x\.safetensors", place)
    for name in COMMANDS:
        command_refused(
            *command(name, path, base, place / "new" / "output"), said=r"x\.safetensors", place=place
        )


@pytest.mark.parametrize("attack", [*UNTRUE, *LATE, *LARGE])
def test_what_is_whole_and_untrue(
    packed: bytes, attack: str, tmp_path: Path, base: Path, place: Path
) -> None:
    description, tensors, said = {**UNTRUE, **LATE, **LARGE}[attack]
    path = tmp_path / "x.safetensors"
    path.write_bytes(rewritten(packed, description, **tensors))
    but = DESCRIBING if attack in LATE else NOT_EXPANDING if attack in LARGE else ()
    through_every_reader(path, base, said, place, but)
    for name in {"export", "unpack", "inspect"} - set(but):
        command_refused(*command(name, path, base, place / "new" / "output"), said=said, place=place)


def test_every_cut_and_every_flipped_bit(packed: bytes, base: Path, place: Path) -> None:
    path = place.parent / "x.safetensors"
    named = readers(base)
    passed = 0
    for data in raw.truncated(packed) + raw.flipped(packed):
        path.write_bytes(data)
        for name in ("inspect", "expand", "unpack"):
            passed += _tried(named[name], path, place, passed)
    assert passed < 300, "flips of the header's padding and metadata change nothing; others are noticed"


def _tried(read: Read, path: Path, place: Path, number: int) -> bool:
    return tried(lambda out: read(path, out.with_name(f"output-{number}")), place)


def test_tensors_without_bytes_and_without_bounds(
    packed: bytes, tmp_path: Path, base: Path, place: Path
) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw.empty_giant(packed))
    through_every_reader(path, base, "no tensor is so large", place)


def test_the_whole_file_passes_every_reader(packed: bytes, tmp_path: Path, base: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(packed)
    for name, read in readers(base).items():
        if name != "load":  # which needs a model
            read(path, tmp_path / name)
