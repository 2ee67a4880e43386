"""Reading and inspecting adapter folders, and what is refused."""

from __future__ import annotations

import json

import pytest
import torch

import nolakit
from handmade_adapters import MODULES, coefficients
from nolakit.adapter.files import open_adapter
from nolakit.adapter.paths import canonical_path
from nolakit.adapter.shapes import compact_shapes, shapes_of
from nolakit.errors import AdapterError, AdapterNotFoundError


def test_inspection_counts_what_is_stored(make_adapter):
    head = {"base_model.model.score.weight": torch.zeros(2, 20)}
    folder = make_adapter(tensors=coefficients() | head, modules_to_save=["score"])
    found = nolakit.inspect(folder)
    assert (found.method, found.seed, found.base_model) == ("nola", 9, "some/base")
    assert (found.trained, found.trained_other, found.coefficient_bytes) == (30, 40, 120)
    assert found.lora_numbers == sum(3 * (inputs + outputs) for inputs, outputs in MODULES.values())
    assert found.weights_bytes == (folder / "adapter_model.safetensors").stat().st_size
    assert [row.path for row in found.modules] == [f"model.{path}" for path in sorted(MODULES)]
    assert json.loads(json.dumps(found.to_dict()))["modules"][1] == {
        "path": "model.layers.0.up_proj", "rank": 3, "in_features": 20, "out_features": 48, "trained": 10,
        "lora_numbers": 204,
    }  # fmt: skip


def test_other_methods_are_inspected_as_far_as_their_file_goes(make_adapter):
    tensors = {
        "base_model.model.q.lora_A.weight": torch.zeros(1, 8),
        "base_model.model.score.weight": torch.zeros(2, 2),
    }
    found = nolakit.inspect(make_adapter(tensors=tensors, peft_type="LORA"))
    assert (found.method, found.trained, found.trained_other, found.modules) == ("lora", 8, 4, [])


BROKEN_CONFIGS = {
    "no JSON": b"{", "no object": b"[1]", "no peft_type": b"{}", "a number for it": b'{"peft_type": 3}',
    "no text": b"\xff\xfe\x00",
}  # fmt: skip


@pytest.mark.parametrize("content", BROKEN_CONFIGS.values(), ids=BROKEN_CONFIGS)
def test_a_broken_configuration_is_named(make_adapter, content):
    folder = make_adapter()
    (folder / "adapter_config.json").write_bytes(content)
    with pytest.raises(AdapterError, match=r"adapter_config\.json"):
        open_adapter(folder)


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_truncated_tensor_file_is_named(make_adapter, keep):
    folder = make_adapter()
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(AdapterError, match="safetensors"):
        open_adapter(folder)


def without(key_part: str) -> dict[str, torch.Tensor]:
    return {key: value for key, value in coefficients().items() if key_part not in key}


BROKEN_ADAPTERS = [
    ({"tensors": without("layers.1.q_proj.lora_B")}, "only lora_A of module"),
    ({"num_basis": 7}, r"shape \(6,\) in F32; the configuration says \(7,\)"),
    ({"num_basis": None}, "num_basis"),
    ({"seed": None}, "seed"),
    ({"module_shapes": {}}, "no usable shape"),
    ({"module_shapes": {"q_proj": {"lora_A": [3, -1], "lora_B": [1, 3]}}}, "no usable shape"),
    ({"module_shapes": {"q_proj": {"lora_A": [3, 1 << 40], "lora_B": [1, 3]}}}, "no usable shape"),
    ({"module_shapes": 5}, "no usable shape"),
]


@pytest.mark.parametrize("changes, said", BROKEN_ADAPTERS, ids=[said for _, said in BROKEN_ADAPTERS])
def test_an_inconsistent_adapter_is_named(make_adapter, changes, said):
    with pytest.raises(AdapterError, match=said):
        nolakit.expand(make_adapter(**changes))


def test_a_missing_adapter_is_named(tmp_path, make_adapter):
    with pytest.raises(AdapterNotFoundError, match="no such folder"):
        open_adapter(tmp_path / "nowhere")
    folder = make_adapter()
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"adapter_model\.safetensors"):
        nolakit.inspect(folder)


@pytest.mark.parametrize("path, prefix, canonical", [
    ("model.layers.0.mlp.up_proj", "model", "layers.0.mlp.up_proj"),
    ("layers.0.mlp.up_proj", "model", "layers.0.mlp.up_proj"),
    ("layers.0.mlp.up_proj", "", "layers.0.mlp.up_proj"),
    ("base_model.model.model.layers.0.q", "model", "layers.0.q"),
    ("module._orig_mod.model.layers.0.q", "model", "layers.0.q"),
    ("_orig_mod.layers.0._orig_mod.q", "", "layers.0.q"),
    ("layers.0._checkpoint_wrapped_module._fsdp_wrapped_module.q", "", "layers.0.q"),
    ("encoder.module.q", "", "encoder.module.q"),
    ("modeling.q", "model", "modeling.q"),
])  # fmt: skip
def test_canonical_paths(path, prefix, canonical):
    assert canonical_path(path, prefix) == canonical


def test_shapes_are_short_where_they_can_be():
    def dims(inputs: int) -> dict[str, tuple[int, ...]]:
        return {"lora_A": (2, inputs), "lora_B": (8, 2)}

    stored = compact_shapes({"a.0.q": dims(4), "a.1.q": dims(4), "a.0.k": dims(4), "a.1.k": dims(6)})
    assert set(stored) == {"q", "a.0.k", "a.1.k"}
    assert shapes_of("a.1.q", stored) == dims(4)
    assert shapes_of("a.1.k", stored) == dims(6)
    with pytest.raises(AdapterError, match=r"a\.2\.k"):
        shapes_of("a.2.k", stored)
