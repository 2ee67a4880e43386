"""Adapters over a base that is another one, and base folders that are not whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from attacks import raw
from attacks.limits import command_refused, refused
from attacks.whole import MODULES, llama_adapter, write_base
from nolakit.adapter.fingerprint import fingerprint
from nolakit.errors import BaseMismatchError
from nolakit.export.gguf import export_gguf
from nolakit.export.merged import export_merged

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
FIRST = "model.layers.0.self_attn.q_proj.weight"
BROKEN = raw.not_safetensors(raw.joined({"a": raw.F32}, bytes(4)))

Damage = Callable[[Path], Any]


def configured(**changes: Any) -> Damage:
    return lambda base: (base / CONFIG).write_text(
        json.dumps(json.loads((base / CONFIG).read_text()) | changes)
    )


def written(data: str | bytes, name: str = CONFIG) -> Damage:
    return lambda base: (base / name).write_bytes(data.encode() if isinstance(data, str) else data)


def indexed(index: Any) -> Damage:
    """The weights as one shard, under an index."""
    return written(json.dumps({"weight_map": index}), INDEX)


def weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Damage:
    def damage(base: Path) -> None:
        found = load_file(base / WEIGHTS)
        change(found)
        save_file(found, base / WEIGHTS)

    return damage


def shortened(base: Path) -> None:
    """A shard whose end is missing."""
    indexed(dict.fromkeys(WHOLE, WEIGHTS))(base)
    data = (base / WEIGHTS).read_bytes()
    (base / WEIGHTS).write_bytes(data[: len(data) // 2])


def outside(base: Path) -> None:
    """A whole shard beside the base's folder, that the index names."""
    shutil.copyfile(base / WEIGHTS, base.parent / "outside.safetensors")
    indexed(dict.fromkeys(WHOLE, "../outside.safetensors"))(base)


def folder_instead(name: str) -> Damage:
    def damage(base: Path) -> None:
        (base / name).unlink(missing_ok=True)
        (base / name).mkdir()

    return damage


WHOLE = [f"model.{path}.weight" for path in MODULES]
CONFIGURATIONS: dict[str, tuple[Damage, str]] = {  # of merged and gguf
    "empty": (written(""), r"config\.json"),
    "no JSON": (written("{'a'}"), r"config\.json"),
    "nested too deep": (written('{"a":' * 100_000), "nested"),
    "a list": (written("[]"), "JSON object"),
    "a name twice": (written('{"model_type": "llama", "model_type": "llama"}'), "twice"),
    "missing": (lambda base: (base / CONFIG).unlink(), r"config\.json"),
    "a folder": (folder_instead(CONFIG), r"config\.json"),
}
FOR_GGUF: dict[str, tuple[Damage, str]] = {
    "no model_type": (configured(model_type=None), "base of type None"),
    "model_type a list": (configured(model_type=["llama"]), "base of type"),
    **{
        f"layers {value!r}"[:30]: (configured(num_hidden_layers=value), "num_hidden_layers")
        for value in (None, 0, -1, 10**12, 1.5, "2", True, [2])
    },
    "one layer": (configured(num_hidden_layers=1), "of 1 layers"),
    **{
        f"heads {value!r}"[:30]: (configured(num_attention_heads=value), "heads")
        for value in (None, 0, -2, 5, 10**30, "2", [2], True)
    },
}
FOR_MERGED: dict[str, tuple[Damage, str]] = {
    "no weights": (lambda base: (base / WEIGHTS).unlink(), "expected a base whose weights are safetensors"),
    "a folder for the weights": (folder_instead(WEIGHTS), "expected a base whose weights are safetensors"),
    "a pickle": (lambda base: (base / WEIGHTS).rename(base / "pytorch_model.bin"), "weights are safetensors"),
    "an index of no JSON": (written("{", INDEX), "index"),
    "an index of a list": (indexed([WEIGHTS]), "weight_map"),
    "an index of numbers": (indexed({FIRST: 1}), "weight_map"),
    "an index of nothing": (indexed({}), "found no "),
    "an index with a shard missing": (indexed({FIRST: "model-2.safetensors"}), r"model-2\.safetensors"),
    "an index with a tensor missing": (indexed({"more": WEIGHTS}), "missing from"),
    "a shard cut": (shortened, "not a whole safetensors file"),
    "a shard outside": (outside, "outside its folder"),
    "an absolute shard": (indexed({FIRST: "/etc/passwd"}), "outside its folder"),
    "a shard that is the folder above": (indexed({FIRST: ".."}), "outside its folder"),
    "a shard that is the folder": (indexed({FIRST: "."}), "outside its folder|whole safetensors"),
    "a shard without a name": (indexed({FIRST: ""}), "outside its folder|whole safetensors"),
    "a shard of a zero byte": (indexed({FIRST: "a\0b"}), "outside its folder|whole safetensors"),
    "a shard of a long name": (indexed({FIRST: "a" * 5000}), "no name of a file"),
    "shards that both have it": (
        lambda base: (
            shutil.copyfile(base / WEIGHTS, base / "b.safetensors"),
            indexed({FIRST: WEIGHTS, WHOLE[1]: "b.safetensors"})(base),
        ),
        "again in",
    ),
    "a module missing": (weights(lambda found: found.pop(FIRST)), "found no "),
    "no tensors": (weights(lambda found: found.clear()), "found no "),
    "another shape": (weights(lambda found: found.update({FIRST: torch.zeros(8, 8)})), "weight of shape"),
    "integers": (weights(lambda found: found.update({FIRST: torch.zeros(24, 24, dtype=torch.int8)})), "in I8"),
    "NaN": (weights(lambda found: found.update({FIRST: torch.full((24, 24), torch.nan)})), "not finite"),
    "infinite": (weights(lambda found: found.update({FIRST: torch.full((24, 24), torch.inf)})), "not finite"),
    "quantised": (configured(quantization_config={"quant_method": "x"}), "quantised by x"),
    "quantised by no object": (configured(quantization_config=["x"]), "quantised"),
}  # fmt: skip


@pytest.fixture
def damaged(base: Path, tmp_path: Path) -> Path:
    """A copy of the whole base, to be damaged."""
    return Path(shutil.copytree(base, tmp_path / "base"))


def merged(adapter: Path, base: Path) -> Callable[[Path], Any]:
    return lambda out: export_merged(adapter, out, base=base)


def gguf(adapter: Path, base: Path) -> Callable[[Path], Any]:
    return lambda out: export_gguf(adapter, out, base=base)


@pytest.mark.parametrize("attack", CONFIGURATIONS)
def test_a_configuration_that_is_none(folder: Path, damaged: Path, attack: str, place: Path) -> None:
    damage, said = CONFIGURATIONS[attack]
    damage(damaged)
    for export in (merged, gguf):
        refused(export(folder, damaged), said, place)
    for form in ("merged", "gguf"):
        output = place / "new" / "output"
        command_refused(
            "export", folder, "--to", form, "--base", damaged, "-o", output, said=said, place=place
        )


@pytest.mark.parametrize("attack", FOR_GGUF)
def test_a_configuration_that_no_model_has(folder: Path, damaged: Path, attack: str, place: Path) -> None:
    damage, said = FOR_GGUF[attack]
    damage(damaged)
    refused(gguf(folder, damaged), said, place)


@pytest.mark.parametrize("attack", FOR_MERGED)
def test_weights_that_are_not_whole(folder: Path, damaged: Path, attack: str, place: Path) -> None:
    damage, said = FOR_MERGED[attack]
    damage(damaged)
    refused(merged(folder, damaged), said, place)


@pytest.mark.parametrize("attack", BROKEN)
def test_weights_that_are_no_safetensors_file(folder: Path, damaged: Path, attack: str, place: Path) -> None:
    whole = (damaged / WEIGHTS).read_bytes()
    (damaged / WEIGHTS).write_bytes(raw.not_safetensors(whole)[attack])
    refused(merged(folder, damaged), WEIGHTS, place)


def fingerprinted(folder: Path, base: Path) -> Path:
    """The whole adapter with the fingerprint of a base's weights."""
    dims = {path: {"lora_A": (3, 24), "lora_B": (outputs, 3)} for path, outputs in MODULES.items()}
    stored = load_file(base / WEIGHTS)
    layers = {path: torch.nn.Linear(24, outputs, bias=False) for path, outputs in MODULES.items()}
    for path, layer in layers.items():
        layer.weight.data.copy_(stored[f"model.{path}.weight"])
    return llama_adapter(folder, base_fingerprint=fingerprint(dims, layers))


def test_another_base_is_told_by_its_weights_and_its_layers(tmp_path: Path, base: Path, place: Path) -> None:
    other = write_base(tmp_path / "other")
    filled = {name: torch.randn(value.shape) for name, value in load_file(other / WEIGHTS).items()}
    save_file(filled, other / WEIGHTS)
    adapter = fingerprinted(tmp_path / "fingerprinted", other)
    export_merged(adapter, tmp_path / "merged", base=other)
    save_file({name: torch.randn(value.shape) for name, value in filled.items()}, other / WEIGHTS)
    refused(merged(adapter, other), "another|away", place)
    command_refused(
        "export", adapter, "--to", "merged", "--base", other, "-o", place / "new", said="away", place=place
    )
    for number, untrue in enumerate(({}, {"structure": 3}, {"structure": "0" * 16, "sketch": []})):
        wrong = llama_adapter(tmp_path / f"wrong{number}", base_fingerprint=untrue)
        with pytest.raises(BaseMismatchError):
            export_merged(wrong, place / "new", base=base)
