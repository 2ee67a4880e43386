"""What was trained whole, in a merged model: biases, token rows, heads and embeddings that were tied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from export.proof import Place, assert_same, decoder, prepare, reload
from nolakit import export_merged
from nolakit.errors import (
    AdapterError,
    UnsupportedError,
)
from small_models import BY_NAME
from tuner.adapting import adapted


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
    assert model.config.tie_word_embeddings is False
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
    assert model.config.tie_word_embeddings is False
    assert torch.equal(model.lm_head.weight, before + 1)
    assert torch.equal(model.model.embed_tokens.weight, before)
    apart = prepare(tmp_path / "apart", decoder(tie_word_embeddings=True), modules_to_save=["embed_tokens"])
    with pytest.raises(UnsupportedError, match="ensure_weight_tying"):
        export_merged(apart.adapter, tmp_path / "other")
    assert not (tmp_path / "other").exists()
