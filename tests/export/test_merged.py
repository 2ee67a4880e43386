"""Merging weight by weight against PEFT's merging of the loaded model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from export.proof import Place, assert_same, decoder, prepare, reload
from nolakit import export_merged
from nolakit.errors import (
    AdapterError,
    OutputExistsError,
    StreamingError,
)
from small_models import BY_NAME, CASES, Case
from tuner.adapting import adapted, config_for


def saved(case: Case, folder: Path, **changes: Any) -> tuple[Path, Path]:
    """The case's base and its adapter, saved."""
    case.make().save_pretrained(folder / "base")
    adapted(case, **changes).save_pretrained(folder / "adapter")
    return folder / "base", folder / "adapter"


NAMED_AS_SAVED = [case for case in CASES if case.name not in ("vit", "plain")]


@pytest.mark.parametrize("options", [{}, {"use_rslora": True, "alpha_pattern": {"q_proj|query|q|c_attn": 3}}])
@pytest.mark.parametrize("case", NAMED_AS_SAVED, ids=lambda case: case.name)
def test_equals_pefts_merging_bit_for_bit(case: Case, options: dict[str, Any], tmp_path: Path) -> None:
    base, adapter = saved(case, tmp_path, **options)
    out = export_merged(adapter, tmp_path / "merged", base=base, max_shard_size=20_000)
    assert len(list(out.glob("model-*-of-*.safetensors"))) > 2
    merged = adapted(case, **options).merge_and_unload(safe_merge=True)
    assert_same(reload(merged, out), merged)


def test_convolutions_are_merged(tmp_path: Path) -> None:
    """Of a plain module: transformers renames the weights of its vision models on the way to a file."""
    case = BY_NAME["plain"]
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    base.mkdir()
    save_file(case.make().state_dict(), base / "model.safetensors")
    (base / "config.json").write_text("{}")
    adapted(case).save_pretrained(adapter)
    found = load_file(export_merged(adapter, tmp_path / "merged", base=base) / "model.safetensors")
    expected = adapted(case).merge_and_unload().state_dict()
    assert found.keys() == expected.keys()
    torch.testing.assert_close(found, dict(expected), rtol=1e-6, atol=1e-7)
    assert not torch.equal(found["conv.weight"], case.make().state_dict()["conv.weight"])
    grouped = config_for(case, target_modules=["grouped"])
    from peft import get_peft_model

    with pytest.warns(UserWarning, match="groups"):
        get_peft_model(case.make(), grouped).save_pretrained(tmp_path / "grouped")
    with pytest.raises(StreamingError, match="grouped convolution"):
        export_merged(tmp_path / "grouped", tmp_path / "other", base=base)


def test_a_square_weight_that_is_stored_transposed(tmp_path: Path) -> None:
    """GPT-2's c_proj is 32 x 32 in attention: its shape does not say which way it lies."""
    case = BY_NAME["gpt2"]
    base, adapter = saved(case, tmp_path, target_modules=["c_proj"])
    merged = adapted(case, target_modules=["c_proj"]).merge_and_unload()
    assert_same(reload(merged, export_merged(adapter, tmp_path / "merged", base=base)), merged)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(tmp_path: Path, dtype: torch.dtype) -> None:
    """The float32 sum, rounded; PEFT rounds the update before it adds it and is up to one unit further off."""
    place = prepare(tmp_path, decoder().to(dtype))
    found = load_file(export_merged(place.adapter, tmp_path / "merged") / "model.safetensors")
    before = load_file(place.base / "model.safetensors")
    layers = dict(place.model.get_base_model().named_modules())
    for name, value in found.items():
        assert value.dtype == dtype
        layer = layers[name.removesuffix(".weight")]
        exact = before[name].float()
        if hasattr(layer, "lora_A"):
            exact = layer.get_delta_weight("default") + exact
        assert torch.equal(value, exact.to(dtype)), name
    pefts = place.model.merge_and_unload().state_dict()
    step = torch.finfo(dtype).eps
    for name, value in found.items():
        torch.testing.assert_close(value.float(), pefts[name].float(), rtol=step, atol=step)


def test_another_dtype_for_all_weights(tmp_path: Path) -> None:
    place = prepare(tmp_path, decoder())
    out = export_merged(place.adapter, tmp_path / "merged", dtype=torch.bfloat16)
    wide = load_file(export_merged(place.adapter, tmp_path / "wide") / "model.safetensors")
    for name, value in load_file(out / "model.safetensors").items():
        assert torch.equal(value, wide[name].to(torch.bfloat16))
    assert transformers.AutoModelForCausalLM.from_pretrained(out).dtype == torch.bfloat16


def headless(place: Place, folder: Path) -> Path:
    """The base without its head's prefix, as a checkpoint of the model without a head."""
    decoder().model.save_pretrained(folder)
    return folder


def test_a_base_with_or_without_its_head(tmp_path: Path) -> None:
    with_head = prepare(tmp_path / "with", decoder())
    merged = load_file(
        export_merged(with_head.adapter, tmp_path / "a", base=headless(with_head, tmp_path / "bare"))
        / "model.safetensors"
    )
    whole = load_file(export_merged(with_head.adapter, tmp_path / "b") / "model.safetensors")
    assert {f"model.{name}" for name in merged} == whole.keys() - {"lm_head.weight"}
    assert all(torch.equal(value, whole[f"model.{name}"]) for name, value in merged.items())
    without = prepare(tmp_path / "without", decoder().model, task_type=None)
    over_whole = load_file(
        export_merged(without.adapter, tmp_path / "c", base=with_head.base) / "model.safetensors"
    )
    assert over_whole.keys() == whole.keys()
    assert all(torch.equal(value, whole[name]) for name, value in over_whole.items())


def test_a_new_head_over_a_headless_base(tmp_path: Path) -> None:
    case = BY_NAME["bert"]
    case.make().bert.save_pretrained(tmp_path / "base")
    model = adapted(case, task_type="SEQ_CLS")
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "modules_to_save" in name:
                value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(1)))
    model.save_pretrained(tmp_path / "adapter")
    out = export_merged(tmp_path / "adapter", tmp_path / "merged", base=tmp_path / "base")
    merged = model.merge_and_unload()
    assert_same(reload(merged, out), merged)


def test_sums_that_overflow_are_refused(tmp_path: Path) -> None:
    place = prepare(tmp_path, decoder(), lora_alpha=10_000_000)
    with pytest.raises(AdapterError, match="not finite in float16"):
        export_merged(place.adapter, tmp_path / "merged", dtype=torch.float16)
    export_merged(place.adapter, tmp_path / "merged")
    with pytest.raises(OutputExistsError):
        export_merged(place.adapter, tmp_path / "merged")
