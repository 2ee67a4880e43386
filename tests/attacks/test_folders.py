"""Adapter folders: every reader and every command refuses what is not whole or not true."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from attacks import raw
from attacks.folder_damage import (
    CONFIG,
    FIRST,
    WEIGHTS,
    Damage,
    also,
    configured,
    emptied,
    file_for_folder,
    first,
    folder_loop,
    instead,
    loop,
    pickled,
    shaped,
    tensors,
    written,
)  # fmt: skip
from attacks.limits import command_refused, refused
from attacks.readers import COMMANDS, command, readers

BROKEN = raw.not_safetensors(raw.joined({"a": raw.F32}, bytes(4)))
NUMBERS = {
    "negative": -1,
    "zero": 0,
    "huge": 10**30,
    "NaN": float("nan"),
    "text": "9",
    "a list": [9],
    "true": True,
}
SHAPES_WRONG = {
    "missing": None, "negative": [-3, 24], "zero": [0, 24], "huge": [3, 1 << 40], "beyond 64 bits": [3, 1 << 80],
    "a fraction": [3.5, 24], "of one dimension": [72], "of nine dimensions": [3, *[1] * 7, 24], "another rank": [4, 24],
    "a number": 3, "of texts": ["3", "24"], "of truths": [True, True],
}  # fmt: skip
CONFIGS: dict[str, tuple[Damage, str]] = {
    "empty": (written(""), "not JSON"),
    "no JSON": (written("{'a'}"), "not JSON"),
    "no UTF-8": (written(b'{"peft_type": "\xff"}'), "not JSON"),
    "nested too deep": (written('{"a":' * 100_000), "nested"),
    "nested lists": (written("[" * 100_000), "nested"),
    "a list": (written("[]"), "JSON object"),
    "a number": (written("1"), "JSON object"),
    "a name twice": (written('{"peft_type": "NOLAKIT_NOLA", "peft_type": "LORA"}'), "twice"),
    "a nested name twice": (written('{"peft_type": "NOLAKIT_NOLA", "x": {"a": 1, "a": 2}}'), "twice"),
    "a number of many digits": (written('{"peft_type": "NOLAKIT_NOLA", "seed": ' + "9" * 9999 + "}"), "JSON"),
    "half a surrogate": (written('{"peft_type": "NOLAKIT_NOLA", "r": "\\ud800"}'), "not JSON"),
    "no peft_type": (configured(peft_type=...), "peft_type"),
    "peft_type null": (configured(peft_type=None), "peft_type"),
    "peft_type a list": (configured(peft_type=["NOLAKIT_NOLA"]), "peft_type"),
    "no num_basis": (configured(num_basis=...), "num_basis"),
    "no seed": (configured(seed=...), "seed"),
    "no share_basis": (configured(share_basis=...), "share_basis"),
    "share_basis a number": (configured(share_basis=1), "share_basis"),
    "prefix a list": (configured(base_model_prefix=[]), "base_model_prefix"),
    "module_shapes missing": (configured(module_shapes=...), "usable shape"),
    "module_shapes a list": (configured(module_shapes=[1]), "usable shape"),
    "module_shapes empty": (configured(module_shapes={}), "usable shape"),
    **{f"num_basis {name}": (configured(num_basis=value), "num_basis|says") for name, value in NUMBERS.items()},
    **{f"num_basis_b {name}": (configured(num_basis_b=value), "num_basis|says") for name, value in NUMBERS.items()},
    **{f"seed {name}": (configured(seed=value), "seed") for name, value in NUMBERS.items() if name != "zero"},
    **{f"r {name}": (configured(r=value), "found r=") for name, value in NUMBERS.items()},
    **{f"shape {name}": (shaped("lora_A", shape), "usable shape") for name, shape in SHAPES_WRONG.items()},
    **{f"shape of B {name}": (shaped("lora_B", shape), "usable shape") for name, shape in SHAPES_WRONG.items()},
    "lora_alpha missing": (configured(lora_alpha=...), "lora_alpha"),
    **{
        f"lora_alpha {name}": (configured(lora_alpha=NUMBERS[name]), "lora_alpha")
        for name in ("NaN", "text", "a list", "true")
    },
    "lora_alpha huge": (configured(lora_alpha=10**300), "lora_alpha"),
    "lora_alpha infinite": (configured(lora_alpha=float("inf")), "lora_alpha"),
    "fingerprint of more": (configured(base_fingerprint={"modules": 4}), "missing"),
}  # fmt: skip
TENSORS: dict[str, tuple[Damage, str]] = {
    "count": (first(lambda found: found[:-1].clone()), "coefficients|shape"),
    "more": (first(lambda found: found.repeat(2)), "shape"),
    "none of one": (first(lambda found: found[:0].clone()), "shape"),
    "a matrix": (first(lambda found: found[None].clone()), "shape"),
    "a scalar": (first(lambda found: found[0].clone()), "shape"),
    **{
        f"in {dtype}": (first(lambda found, dtype=dtype: found.to(dtype)), "shape")
        for dtype in (torch.int8, torch.float64, torch.bool, torch.float8_e4m3fn)
    },
    "one factor": (first(lambda _: None), "only lora_B"),
    "a third factor": (
        tensors(lambda found: found.update({FIRST + ".lora_C.coefficients": torch.ones(6)})),
        "lora_A and lora_B",
    ),
    "none": (tensors(lambda found: found.clear()), "0 modules"),
    "twice by a wrapper": (also("base_model.model._orig_mod.model.layers.0.self_attn.q_proj"), "twice"),
    "twice by the prefix": (also("base_model.model.layers.0.self_attn.q_proj"), "twice"),
    "a path up": (also("base_model.model.model.../../q_proj"), "path of named modules"),
    "a terminal's escape": (also("base_model.model.model.a.\x1b[2Jq_proj"), "path of named modules"),
    "a long name": (also("base_model.model." + "a" * 70_000), "path of named modules"),
    "no name": (also(""), "path of named modules"),
}
LATE: dict[str, tuple[Damage, str]] = {  # seen where coefficients are read
    "NaN": (first(lambda found: found * torch.nan), "not finite"),
    "infinite": (first(lambda found: found / 0), "not finite"),
}
FILES: dict[str, tuple[Damage, str]] = {
    "no files": (emptied, "found no adapter_config.json"),
    "no configuration": (lambda folder: (folder / CONFIG).unlink(), "found no adapter_config.json"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "found no adapter_model.safetensors"),
    "a pickle": (pickled, "found no adapter_model.safetensors"),
    "a folder for the configuration": (instead(CONFIG, Path.mkdir), "found no adapter_config.json"),
    "a folder for the weights": (instead(WEIGHTS, Path.mkdir), "found no adapter_model.safetensors"),
    "a loop for the configuration": (instead(CONFIG, loop), "found no adapter_config.json"),
    "a loop for the weights": (instead(WEIGHTS, loop), "found no adapter_model.safetensors"),
    "a file for the folder": (file_for_folder, "not a whole safetensors file"),
    "a loop for the folder": (folder_loop, "found no adapter_config.json"),
}
EVERY = {"configuration": CONFIGS, "tensors": TENSORS, "late": LATE, "files": FILES}
READING = ("pack", "write packed", "expand", "lora", "merged", "gguf")  # the coefficients


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    """A copy of the whole adapter, to be damaged."""
    return Path(shutil.copytree(folder, tmp_path / "adapter"))


@pytest.mark.parametrize("attack", BROKEN)
def test_weights_that_are_no_safetensors_file(damaged: Path, attack: str, base: Path, place: Path) -> None:
    whole = (damaged / WEIGHTS).read_bytes()
    (damaged / WEIGHTS).write_bytes(raw.not_safetensors(whole)[attack])
    for read in readers(base).values():
        refused(lambda out, read=read: read(damaged, out), WEIGHTS, place)
    for name in COMMANDS:
        command_refused(*command(name, damaged, base, place / "new" / "output"), said=WEIGHTS, place=place)


@pytest.mark.parametrize(
    ("table", "attack"), [(table, name) for table, rows in EVERY.items() for name in rows]
)
def test_what_is_untrue(damaged: Path, table: str, attack: str, base: Path, place: Path) -> None:
    damage, said = EVERY[table][attack]
    damage(damaged)
    chosen = readers(base)
    for name in READING if table == "late" else chosen:
        refused(lambda out, name=name: chosen[name](damaged, out), said, place)
    for name in ("export",) if table == "late" else ("inspect", "export"):
        command_refused(*command(name, damaged, base, place / "new" / "output"), said=said, place=place)
