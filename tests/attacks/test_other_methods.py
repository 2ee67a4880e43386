"""Adapters whose numbers differ by module, are shared, or stand beside stored parts: what is untrue is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load

import nolakit
from attacks.folder_damage import FIRST, Damage, configured, tensors
from attacks.limits import refused
from attacks.readers import readers
from attacks.whole import MODULES, RANK, SHAPES, llama_adapter
from rewriting import rewritten

NAMES = [["model.layers.", [0, 1], ".self_attn.q_proj"], "model.layers.0.mlp.up_proj"]


def vera(folder: Path, **changes: Any) -> Path:
    """Numbers of a module's outputs, so that modules differ."""
    made = {}
    for path, outputs in MODULES.items():
        made[f"base_model.model.model.{path}.lora_A.coefficients"] = torch.rand(RANK)
        made[f"base_model.model.model.{path}.lora_B.coefficients"] = torch.rand(outputs)
    return llama_adapter(folder, made, peft_type="NOLAKIT_VERA", **{"d_initial": 0.1} | changes)


def lora_xs(folder: Path, **changes: Any) -> Path:
    """Numbers of lora_B alone, and stored parts."""
    made = {}
    for path, outputs in MODULES.items():
        key = f"base_model.model.model.{path}"
        made[f"{key}.lora_B.coefficients"] = torch.rand(RANK**2)
        made[f"{key}.lora_A.frozen"] = torch.rand(RANK, 24)
        made[f"{key}.lora_B.frozen"] = torch.rand(outputs, RANK)
    options = {"store_frozen": True, "module_names": NAMES}
    return llama_adapter(folder, made, peft_type="NOLAKIT_LORA_XS", **options | changes)


def uni_lora(folder: Path, **changes: Any) -> Path:
    """Numbers that all modules share, held by the first."""
    options = {"theta_d_length": 40, "module_names": NAMES}
    made = {"base_model.model.model.layers.0.mlp.up_proj.lora_A.coefficients": torch.rand(40)}
    return llama_adapter(folder, made, peft_type="NOLAKIT_UNILORA", **options | changes)


def without(key: str) -> Damage:
    return tensors(lambda found: found.pop(key))


def changed(key: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Damage:
    return tensors(lambda found: found.update({key: change(found[key]).clone()}))


def added(key: str, value: torch.Tensor) -> Damage:
    return tensors(lambda found: found.update({key: value}))


A, B = f"{FIRST}.lora_A", f"{FIRST}.lora_B"
VERA: dict[str, tuple[Damage, str]] = {
    "a number too few": (changed(B + ".coefficients", lambda found: found[1:]), "lora_B of .* with shape"),
    "another module's count": (changed(B + ".coefficients", lambda found: found.repeat(2)), "with shape"),
    "no lora_A": (without(A + ".coefficients"), "lora_A of .* with shape"),
    "a third factor": (added(f"{FIRST}.lora_C.coefficients", torch.ones(3)), "lora_C of .* with shape"),
    "d_initial a text": (configured(d_initial="0.1"), "d_initial"),
    "d_initial NaN": (configured(d_initial=float("nan")), "d_initial"),
    "no d_initial": (configured(d_initial=...), "d_initial"),
    **{
        f"a basis of {value!r}": (configured(coefficient_basis=value), "coefficient_basis|with shape")
        for value in (0, -1, "3", 1.5, True, [3], 2)
    },
    "names of two to the 32": (
        configured(module_names=[["x.", [0, (1 << 32) - 1]]]), "expected fewer|at most",
    ),
    "names a number": (configured(module_names=3), "module names"),
    "names of numbers": (configured(module_names=[3]), "module names"),
    "names of others": (configured(module_names=["model.layers.7.self_attn.q_proj"]), "module_names"),
    "names upwards": (configured(module_names=[*NAMES, "model../../x"]), "path of named modules|usable shape"),
}  # fmt: skip
LORA_XS: dict[str, tuple[Damage, str]] = {
    "numbers in lora_A": (added(A + ".coefficients", torch.ones(RANK**2)), "lora_A of .* with shape"),
    "no numbers": (without(B + ".coefficients"), "lora_B of .* with shape"),
    "a rank above the inputs": (
        configured(r=30, module_shapes={name: {"lora_A": [30, 24], "lora_B": [dims["lora_B"][0], 30]}
                                        for name, dims in SHAPES.items()}),
        "singular vectors",
    ),
    "store_frozen a text": (configured(store_frozen="yes"), "store_frozen"),
}  # fmt: skip
HOLDER = "base_model.model.model.layers.0.mlp.up_proj"
UNI_LORA: dict[str, tuple[Damage, str]] = {
    "no modules": (configured(module_names=...), "module_names"),
    "fewer modules": (configured(module_names=NAMES[:1], base_fingerprint=None), "module_names"),
    "shared numbers elsewhere": (
        tensors(lambda found: found.update({A + ".coefficients": found.pop(HOLDER + ".lora_A.coefficients")})),
        "with shape",
    ),
    "shared numbers twice": (added(A + ".coefficients", torch.ones(40)), "with shape"),
    "no shared numbers": (
        tensors(lambda found: found.update(x=found.pop(HOLDER + ".lora_A.coefficients"))), "with shape|0 modules"
    ),
    **{
        f"theta_d_length {value!r}": (configured(theta_d_length=value), "theta_d_length|with shape")
        for value in (0, -1, 1 << 70, 41, 40.0, "40", None, True)
    },
}  # fmt: skip
LATE: dict[str, tuple[Damage, str]] = {  # seen where numbers become factors
    "no frozen part": (without(A + ".frozen"), "absent"),
    "a frozen part of another shape": (changed(B + ".frozen", lambda found: found[1:]), "of shape"),
    "a frozen part that is not finite": (
        changed(B + ".frozen", lambda found: found * torch.nan),
        "not finite",
    ),
    "weights that are not there": (configured(store_frozen=False), "give the base"),
    "a check of texts": (
        configured(store_frozen=False, frozen_check=["1"] * 3),
        "frozen_check|give the base",
    ),
}
CASES = [(vera, VERA, name) for name in VERA] + [(lora_xs, LORA_XS, name) for name in LORA_XS]
CASES += [(uni_lora, UNI_LORA, name) for name in UNI_LORA]


@pytest.mark.parametrize(("make", "table", "attack"), CASES, ids=[name for *_, name in CASES])
def test_what_is_untrue(make: Any, table: Any, attack: str, base: Path, tmp_path: Path, place: Path) -> None:
    damage, said = table[attack]
    folder = make(tmp_path / "adapter")
    damage(folder)
    for read in readers(base).values():
        refused(lambda out, read=read: read(folder, out), said, place)


@pytest.mark.parametrize("attack", LATE)
def test_what_is_untrue_of_stored_parts(attack: str, tmp_path: Path, place: Path) -> None:
    damage, said = LATE[attack]
    folder = lora_xs(tmp_path / "adapter")
    damage(folder)
    refused(lambda out: nolakit.expand(folder), said, place)


def test_checks_of_the_base_are_lists_of_a_number_a_module(base: Path, tmp_path: Path, place: Path) -> None:
    wrongs: tuple[Any, ...] = (["1"] * 3, [0.1], "0.1 0.2 0.3", {"a": 1}, [1e30] * 3, [float("nan")] * 3)
    for number, wrong in enumerate(wrongs):
        folder = lora_xs(tmp_path / str(number), store_frozen=False, frozen_check=wrong)
        refused(lambda out, folder=folder: nolakit.export_lora(folder, out, base=base), "frozen_check", place)
    folder = lora_xs(tmp_path / "other-base", store_frozen=False, frozen_check=[0.5, 0.5, 0.5])
    refused(lambda out: nolakit.export_lora(folder, out, base=base), "other frozen parts", place)


@pytest.mark.parametrize("bits", (32, 8, 4))
@pytest.mark.parametrize("make", (vera, lora_xs, uni_lora))
def test_packed_numbers_are_as_many_as_the_modules_have(
    make: Any, bits: int, tmp_path: Path, place: Path
) -> None:
    """Files with a digest that fits, whose modules or numbers are others."""
    data = nolakit.pack(make(tmp_path / "adapter"), bits)
    assert nolakit.expand(nolakit.read_packed(data)).keys()
    found = load(data)
    config = json.loads(bytes(found["nolakit.description"].tolist()))["config"]
    narrower = {name: {"lora_A": [2, 24], "lora_B": [dims["lora_B"][0], 2]} for name, dims in SHAPES.items()}
    untrue: dict[str, tuple[str, bytes]] = {
        "shapes": (
            "its modules have|of shape",
            rewritten(data, {"config": config | {"module_shapes": narrower}}),
        ),
        "modules": ("its modules have|modules of", rewritten(data, {"modules": [NAMES[1]]})),
        "too many": ("at most", rewritten(data, {"modules": [["x.", [0, 1 << 20]]]})),
        "counts": ("counts", rewritten(data, {"counts": {"lora_A": 3}})),
        "length": ("its modules have", rewritten(data, coefficients=found["coefficients"][:-1].clone())),
    }
    for name in (
        ("shapes", "modules") if make is uni_lora else ()
    ):  # which make another adapter of as many numbers
        del untrue[name]
    for said, wrong in untrue.values():
        refused(lambda out, wrong=wrong: nolakit.expand(nolakit.read_packed(wrong)), said, place)
