"""Merging weight by weight against PEFT's merging of the loaded model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from export.proof import Place, decoder, prepare
from nolakit import export_merged
from nolakit.errors import (
    AdapterError,
    BaseMismatchError,
    ConfigError,
    ModelError,
    OutputExistsError,
    StreamingError,
    UnsupportedError,
)
from small_models import BY_NAME, CASES, Case
from tuner.adapting import adapted, config_for


def saved(case: Case, folder: Path, **changes: Any) -> tuple[Path, Path]:
    """The case's base and its adapter, saved."""
    case.make().save_pretrained(folder / "base")
    adapted(case, **changes).save_pretrained(folder / "adapter")
    return folder / "base", folder / "adapter"


def assert_same(found: Any, expected: Any) -> None:
    found, expected = found.state_dict(), expected.state_dict()
    assert found.keys() == expected.keys()
    different = [name for name, value in expected.items() if not torch.equal(found[name], value)]
    assert not different


def reload(kind: Any, folder: Path) -> Any:
    """The model in a folder, all of whose weights came from its files."""
    model, told = type(kind).from_pretrained(folder, output_loading_info=True)
    assert not any(told.values()), told
    return model


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


@pytest.mark.parametrize("bias", ["all", "lora_only"])
def test_trained_biases(tmp_path: Path, bias: str) -> None:
    case = BY_NAME["bert"]
    case.make().save_pretrained(tmp_path / "base")
    model = adapted(case, bias=bias)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.requires_grad and name.endswith("bias"):
                value.add_(1.0)
    model.save_pretrained(tmp_path / "adapter")
    out = export_merged(tmp_path / "adapter", tmp_path / "merged", base=tmp_path / "base")
    merged = model.merge_and_unload()
    assert_same(reload(merged, out), merged)
    assert not torch.equal(merged.bert.encoder.layer[0].attention.self.query.bias, torch.zeros(32))


@pytest.mark.parametrize("tied", [False, True])
def test_trained_token_rows(tmp_path: Path, tied: bool) -> None:
    place = prepare(tmp_path, decoder(tie_word_embeddings=tied), trainable_token_indices=[3, 50, 7])
    with torch.no_grad():
        for name, value in place.model.named_parameters():
            if "trainable_tokens_delta" in name:
                value.add_(2.0)
    place.model.save_pretrained(place.adapter)
    out = export_merged(place.adapter, tmp_path / "merged")
    merged = place.model.merge_and_unload()
    model = reload(merged, out)
    assert_same(model, merged)
    moved = (
        model.model.embed_tokens.weight - decoder(tie_word_embeddings=tied).model.embed_tokens.weight
    ).abs()
    assert moved.amax(1).nonzero().flatten().tolist() == [3, 7, 50]
    (place.adapter / "adapter_config.json").write_text(
        json.dumps(config_of(place) | {"trainable_token_indices": [3, 96, 7]})
    )
    with pytest.raises(AdapterError, match="96 x 48"):
        export_merged(place.adapter, tmp_path / "again")


def config_of(place: Place) -> dict[str, Any]:
    return json.loads((place.adapter / "adapter_config.json").read_text())


@pytest.mark.filterwarnings("ignore:.*tie:UserWarning", "ignore:Setting `save_embedding_layers`:UserWarning")
@pytest.mark.parametrize("stored", [True, False])
def test_an_adapted_head_is_untied(tmp_path: Path, stored: bool) -> None:
    """Only the head changes; PEFT would change the embeddings with it."""
    place = prepare(tmp_path, decoder(tie_word_embeddings=True), target_modules=["lm_head", "q_proj"])
    if not stored:  # PEFT saves the base's head with the adapter, other programs do not
        weights = place.adapter / "adapter_model.safetensors"
        kept = {name: value for name, value in load_file(weights).items() if "base_layer" not in name}
        assert len(kept) < len(load_file(weights))
        save_file(kept, weights)
    model = reload(decoder(), export_merged(place.adapter, tmp_path / "merged"))
    before = decoder(tie_word_embeddings=True)
    assert torch.equal(model.model.embed_tokens.weight, before.model.embed_tokens.weight)
    layer = place.model.get_base_model().lm_head
    update = layer.get_delta_weight("default")
    assert torch.equal(model.lm_head.weight, update + before.lm_head.weight)
    assert update.abs().max() > 0.1


@pytest.mark.filterwarnings("ignore:.*tie:UserWarning")
def test_saved_heads_and_embeddings_of_a_tied_base(tmp_path: Path) -> None:
    head = prepare(tmp_path / "head", decoder(tie_word_embeddings=True), modules_to_save=["lm_head"])
    with torch.no_grad():
        head.model.get_base_model().lm_head.modules_to_save["default"].weight.add_(1.0)
    head.model.save_pretrained(head.adapter)
    model = reload(decoder(), export_merged(head.adapter, tmp_path / "merged"))
    before = decoder(tie_word_embeddings=True).lm_head.weight
    assert torch.equal(model.lm_head.weight, before + 1)
    assert torch.equal(model.model.embed_tokens.weight, before)
    apart = prepare(tmp_path / "apart", decoder(tie_word_embeddings=True), modules_to_save=["embed_tokens"])
    with pytest.raises(UnsupportedError, match="ensure_weight_tying"):
        export_merged(apart.adapter, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_what_lies_beside_the_weights_is_kept(tmp_path: Path) -> None:
    place = prepare(tmp_path, decoder())
    for name in ("tokenizer.json", "vocab.txt", "spiece.model", "chat_template.jinja", "modeling.py"):
        (place.base / name).write_text(name)
    (place.base / "optimizer.bin").write_text("no")
    out = export_merged(place.adapter, tmp_path / "merged")
    assert {path.name for path in out.iterdir()} == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "vocab.txt", "spiece.model",
        "chat_template.jinja", "modeling.py",
    }  # fmt: skip
    assert json.loads((out / "config.json").read_text()) == json.loads(
        (place.base / "config.json").read_text()
    )


def test_a_base_in_the_hubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = prepare(tmp_path, decoder())
    repository = tmp_path / "hub" / "models--someone--llama"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "snapshots").mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(ModelError, match="someone/llama"):
        export_merged(place.adapter, tmp_path / "merged", base="someone/llama")
    place.base.rename(repository / "snapshots" / ("0" * 40))
    out = export_merged(place.adapter, tmp_path / "merged", base="someone/llama")
    assert_same(reload(decoder(), out), place.model.merge_and_unload())


def test_refusals(tmp_path: Path) -> None:
    place = prepare(tmp_path, decoder())
    config = place.base / "config.json"
    settings = json.loads(config.read_text())
    config.write_text(json.dumps(settings | {"quantization_config": {"quant_method": "bitsandbytes"}}))
    with pytest.raises(UnsupportedError, match=r"bitsandbytes.*--base"):
        export_merged(place.adapter, tmp_path / "out")
    config.write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match="'many'"):
        export_merged(place.adapter, tmp_path / "out", max_shard_size="many")
    decoder(hidden_size=24).save_pretrained(tmp_path / "narrow")
    other = decoder()
    for value in other.parameters():
        value.data = value.data.flip(0)
    other.save_pretrained(tmp_path / "another")
    for base in ("narrow", "another"):
        with pytest.raises(BaseMismatchError):
            export_merged(place.adapter, tmp_path / "out", base=tmp_path / base)
    decoder(num_hidden_layers=1).save_pretrained(tmp_path / "short")
    with pytest.raises(StreamingError, match=r"layers\.1\.mlp\.down_proj"):
        export_merged(place.adapter, tmp_path / "out", base=tmp_path / "short")
    with pytest.raises(ModelError, match="nowhere"):
        export_merged(place.adapter, tmp_path / "out", base=tmp_path / "nowhere")
    (place.base / "model.safetensors").write_bytes(b"\x10")
    with pytest.raises(ModelError, match="whole safetensors"):
        export_merged(place.adapter, tmp_path / "out")
    (place.base / "model.safetensors").unlink()
    with pytest.raises(StreamingError, match="safetensors"):
        export_merged(place.adapter, tmp_path / "out")
    (place.base / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../a.safetensors"}}')
    with pytest.raises(ModelError, match="outside its folder"):
        export_merged(place.adapter, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_sums_that_overflow_are_refused(tmp_path: Path) -> None:
    place = prepare(tmp_path, decoder(), lora_alpha=10_000_000)
    with pytest.raises(AdapterError, match="not finite in float16"):
        export_merged(place.adapter, tmp_path / "merged", dtype=torch.float16)
    export_merged(place.adapter, tmp_path / "merged")
    with pytest.raises(OutputExistsError):
        export_merged(place.adapter, tmp_path / "merged")


MEASURE = """
import sys
from pathlib import Path
from nolakit import export_merged

def status(name):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024

adapter, base, out, small, shard = sys.argv[1:]
export_merged(small, out + "-warm")
Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
before = status("VmRSS")
export_merged(adapter, out, base=base, max_shard_size=int(shard))
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc")
def test_memory_stays_near_one_shard(tmp_path: Path) -> None:
    sizes = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 16, "num_attention_heads": 8}
    model = decoder(**sizes, num_key_value_heads=4)
    small = prepare(tmp_path / "small", decoder())
    place = prepare(tmp_path, model, num_basis=8)
    total = (place.base / "model.safetensors").stat().st_size
    shard = total // 8
    load = transformers.LlamaForCausalLM.from_pretrained(place.base)
    load.save_pretrained(tmp_path / "sharded", max_shard_size=shard)

    def peak(size: int) -> int:
        out = tmp_path / f"out-{size}"
        command = [
            sys.executable,
            "-c",
            MEASURE,
            place.adapter,
            tmp_path / "sharded",
            out,
            small.adapter,
            str(size),
        ]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert total > 60_000_000
    assert peak(shard) < 3 * shard
    assert peak(2 * total) > total
