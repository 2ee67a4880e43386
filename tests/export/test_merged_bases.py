"""The files of a base: what is taken along, what is refused, and how much memory merging holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import transformers

from export.proof import assert_same, decoder, prepare, reload
from nolakit import export_merged
from nolakit.errors import (
    BaseMismatchError,
    ConfigError,
    ModelError,
    StreamingError,
    UnsupportedError,
)


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
    (repository / "snapshots" / ("0" * 40) / "model.safetensors").unlink()
    with pytest.raises(StreamingError, match="safetensors"):
        export_merged(place.adapter, tmp_path / "again", base="someone/llama")


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
