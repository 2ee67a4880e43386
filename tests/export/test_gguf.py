"""GGUF adapters in llama.cpp, and greedy tokens equal across all exports."""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers
from peft import PeftModel

from export.llama_cpp import llama_cpp_tokens, transformers_tokens, write_base
from export.proof import KINDS, decoder, prepare
from nolakit import export_gguf, export_lora, export_merged

PROMPT = [5, 17, 40, 33, 8]
COUNT = 24


@pytest.mark.parametrize("kind", KINDS)
def test_all_exports_say_the_same(tmp_path: Path, kind: str) -> None:
    place = prepare(tmp_path, decoder(kind))
    said = transformers_tokens(place.model, PROMPT, COUNT)
    assert said != transformers_tokens(decoder(kind), PROMPT, COUNT)
    lora = export_lora(place.adapter, tmp_path / "lora")
    loaded = PeftModel.from_pretrained(decoder(kind), str(lora))
    assert transformers_tokens(loaded, PROMPT, COUNT) == said
    merged = export_merged(place.adapter, tmp_path / "merged", max_shard_size="40KB")
    model = transformers.AutoModelForCausalLM.from_pretrained(merged).eval()
    assert transformers_tokens(model, PROMPT, COUNT) == said
    base = write_base(decoder(kind), tmp_path / "base.gguf")
    adapter = export_gguf(place.adapter, tmp_path / "adapter.gguf")
    assert llama_cpp_tokens(base, PROMPT, COUNT, adapter) == said
    assert llama_cpp_tokens(base, PROMPT, COUNT) == transformers_tokens(decoder(kind), PROMPT, COUNT)
    assert llama_cpp_tokens(write_base(model, tmp_path / "merged.gguf"), PROMPT, COUNT) == said
