"""Checkpoints of the official code: converted on the device that made them, refused by name elsewhere."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from export.proof import decoder
from nolakit import import_official
from nolakit.errors import (
    AdapterError,
    AdapterNotFoundError,
    DeviceError,
    OutputExistsError,
    UnsupportedError,
)

RANK, COUNT, ALPHA = 3, 70, 12


def official_factor(start: torch.Tensor, coefficients: torch.Tensor, seed: int) -> torch.Tensor:
    """Start plus combination as the official code computes it: torch's global generator, everything at once."""
    before = torch.get_rng_state()
    torch.manual_seed(seed)
    basis = torch.zeros(len(coefficients), *start.shape, dtype=coefficients.dtype)
    torch.nn.init.uniform_(basis, a=-1.0, b=1.0)
    basis = basis * (1.0 / math.sqrt(len(coefficients)))
    torch.set_rng_state(before)
    return start.double() + torch.einsum("b,boi->oi", coefficients.double(), basis.double())


def write_checkpoint(
    folder: Path, dtype: torch.dtype = torch.float32, device: str | None = None
) -> dict[str, torch.Tensor]:
    """A checkpoint of random coefficients over the small Llama, and the factors that it stands for."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(4)
    tensors, expected = {}, {}
    for number, module in enumerate(("q_proj", "v_proj")):
        outputs = 48 if module == "q_proj" else 24
        for role, shape in (("lora_A", (RANK, 48)), ("lora_B", (outputs, RANK))):
            name = f"base_model.model.model.layers.1.self_attn.{module}.{role}"
            start = (torch.randn(shape, generator=generator) * (role == "lora_A")).to(dtype)
            coefficients = torch.randn(COUNT, generator=generator).to(dtype)
            seed = 9_876_543_210 - number
            tensors |= {
                f"{name}.weight": start,
                f"{name}.coefficients": coefficients,
                f"{name}.seed": torch.tensor([seed]),
            }
            expected[f"{name}.weight"] = official_factor(start, coefficients, seed)
    save_file(
        tensors, folder / "adapter_model.safetensors", metadata=None if device is None else {"device": device}
    )
    config = {
        "peft_type": "LORA", "use_nola": True, "nola_num_basis": COUNT, "r": RANK, "lora_alpha": ALPHA, "bias": "none",
        "task_type": "CAUSAL_LM", "target_modules": ["q_proj", "v_proj"], "layers_to_transform": [1],
        "base_model_name_or_path": "somewhere/llama",
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_checkpoint_of_this_device_becomes_lora(tmp_path: Path, dtype: torch.dtype) -> None:
    expected = write_checkpoint(tmp_path / "official", dtype)
    state = torch.get_rng_state()
    seen: list[tuple[int, int]] = []
    out = import_official(
        tmp_path / "official", tmp_path / "lora", made_on="cpu", progress=lambda *step: seen.append(step)
    )
    assert torch.equal(torch.get_rng_state(), state)
    found = load_file(out / "adapter_model.safetensors")
    assert found.keys() == expected.keys()
    for name, factor in expected.items():
        torch.testing.assert_close(found[name].double(), factor, rtol=1e-5, atol=1e-5)
        assert factor.abs().max() > 0.1
    assert seen == [(number, 4) for number in range(1, 5)]
    model = PeftModel.from_pretrained(decoder(), str(out))
    layer = model.base_model.model.model.layers[1].self_attn.q_proj
    update = layer.get_delta_weight("default").double()
    name = "base_model.model.model.layers.1.self_attn.q_proj.lora_"
    wanted = ALPHA / RANK * expected[f"{name}B.weight"] @ expected[f"{name}A.weight"]
    torch.testing.assert_close(update, wanted, rtol=1e-4, atol=1e-4)
    with pytest.raises(OutputExistsError):
        import_official(tmp_path / "official", out, made_on="cpu")


def test_a_recorded_device_is_enough(tmp_path: Path) -> None:
    expected = write_checkpoint(tmp_path / "official", device="cpu")
    found = load_file(import_official(tmp_path / "official", tmp_path / "lora") / "adapter_model.safetensors")
    assert found.keys() == expected.keys()


@pytest.mark.parametrize(
    ("recorded", "declared", "words"),
    [
        (None, None, ["--made-on"]),
        (None, "tpu", ["'tpu'", "this machine has", "cpu"]),
        ("tpu Trillium", None, ["'tpu Trillium'", "this machine has"]),
        ("tpu Trillium", "tpu", ["'tpu Trillium'"]),
        ("cpu", "cuda", ["'cuda'", "'cpu'", "leave it out"]),
        ("cpu Another", None, ["'Another'", "model that made it"]),
    ],
)
def test_another_device_is_named(
    tmp_path: Path, recorded: str | None, declared: str | None, words: list[str]
) -> None:
    write_checkpoint(tmp_path / "official", device=recorded)
    with pytest.raises(DeviceError) as caught:
        import_official(tmp_path / "official", tmp_path / "lora", made_on=declared)
    assert all(word in str(caught.value) for word in words)
    assert not (tmp_path / "lora").exists()


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "official")
    (tmp_path / "official" / "adapter_model.safetensors").rename(tmp_path / "official" / "adapter_model.bin")
    for path in (tmp_path / "official", tmp_path / "official" / "adapter_model.bin"):
        with pytest.raises(UnsupportedError, match=r"no pickles[^`]*\nimport torch; .*\nsave_file"):
            import_official(path, tmp_path / "lora", made_on="cpu")


def test_what_is_no_official_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(AdapterNotFoundError, match=r"adapter_config\.json"):
        import_official(tmp_path / "nowhere", tmp_path / "lora", made_on="cpu")
    write_checkpoint(tmp_path / "official")
    weights, config = (
        tmp_path / "official" / name for name in ("adapter_model.safetensors", "adapter_config.json")
    )
    whole = load_file(weights)
    name = next(iter(whole)).rpartition(".")[0]
    broken = [
        ({key: value for key, value in whole.items() if key != f"{name}.seed"}, r"\.seed"),
        ({key: value for key, value in whole.items() if key.endswith("weight")}, "coefficients"),
        (whole | {f"{name}.seed": torch.tensor([1.5])}, "no integer"),
        (whole | {f"{name}.coefficients": torch.full((COUNT,), math.nan)}, "not finite"),
    ]
    for tensors, said in broken:
        save_file(tensors, weights)
        with pytest.raises(AdapterError, match=said):
            import_official(tmp_path / "official", tmp_path / "lora", made_on="cpu")
    config.write_text(json.dumps({"peft_type": "LORA"}))
    with pytest.raises(AdapterError, match="use_nola"):
        import_official(tmp_path / "official", tmp_path / "lora", made_on="cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["official"]
