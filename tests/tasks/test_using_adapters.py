"""What is done with a trained adapter: generate, merge, export, and another base."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from peft import PeftModel

import tiny
from nolakit import export_lora
from nolakit.errors import (
    AdapterError,
    AdapterNotFoundError,
    BaseMismatchError,
    ConfigError,
    DataError,
    ModelError,
    OutputExistsError,
    UnsupportedError,
)
from nolakit.tasks import TrainResult, evaluate, generate, merge
from nolakit.tasks.generation import read_prompts


def test_generation_says_what_was_learned(writer: TrainResult) -> None:
    fruit, animal = generate(writer.output, ["the red pear", "the green cat"], max_new_tokens=8)
    assert fruit.prompt == "the red pear"
    assert fruit.text.startswith("is sweet")
    assert animal.tokens <= 8
    merged = next(generate(writer.output, ["the red pear"], max_new_tokens=8, merged=True))
    assert merged.text == fruit.text
    assert fruit.ended


def test_sampling_has_a_seed(writer: TrainResult) -> None:
    def draw(seed: int) -> list[str]:
        options = {"max_new_tokens": 12, "temperature": 3.0, "top_p": 0.95, "seed": seed}
        return [found.text for found in generate(writer.output, ["the red", "a"], **options)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert len(list(generate(writer.output, ["the red"], num_beams=3, max_new_tokens=4))) == 1


def test_generation_refuses_what_it_cannot(
    writer: TrainResult, classifier: TrainResult, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedError, match="text-classification"):
        next(generate(classifier.output, ["the"]))
    with pytest.raises(ConfigError, match="max_new_tokens=0"):
        next(generate(writer.output, ["the"], max_new_tokens=0))
    with pytest.raises(DataError, match="no file"):
        read_prompts(tmp_path / "none.txt")
    (tmp_path / "blank.txt").write_text("\n")
    with pytest.raises(DataError, match="no prompt"):
        read_prompts(tmp_path / "blank.txt")


@pytest.mark.parametrize("name", ["classifier", "writer"])
def test_a_merged_model_is_an_ordinary_one(
    request: pytest.FixtureRequest, data: dict[str, str], tmp_path: Path, name: str
) -> None:
    result: TrainResult = request.getfixturevalue(name)
    made = merge(result.output, tmp_path / "merged")
    rows = data["held_out" if name == "classifier" else "pairs"]
    again = evaluate(tmp_path / "merged", data=rows)
    assert again.metrics["loss"] == pytest.approx(result.metrics["loss"], rel=1e-4)
    assert made.bytes == (tmp_path / "merged" / "model.safetensors").stat().st_size
    kind = (
        transformers.AutoModelForSequenceClassification
        if name == "classifier"
        else transformers.AutoModelForCausalLM
    )
    model = kind.from_pretrained(tmp_path / "merged")
    assert not any("lora" in key for key in model.state_dict())
    assert len(transformers.AutoTokenizer.from_pretrained(tmp_path / "merged")) == len(tiny.SPECIAL) + len(
        tiny.WORDS
    )
    with pytest.raises(OutputExistsError):
        merge(result.output, tmp_path / "merged")
    with pytest.raises(AdapterError, match="whole model"):
        merge(tmp_path / "merged", tmp_path / "twice")


def test_merging_in_another_dtype(writer: TrainResult, tmp_path: Path) -> None:
    assert merge(writer.output, tmp_path / "half", dtype="bfloat16").dtype == "bfloat16"
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "half")
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


def test_the_exported_lora_gives_the_same_outputs(
    writer: TrainResult, bases: dict[str, str], tmp_path: Path
) -> None:
    export_lora(writer.output, tmp_path / "lora")
    ids = torch.randint(6, 20, (2, 9), generator=torch.Generator().manual_seed(0))
    outputs = []
    for folder in (writer.output, str(tmp_path / "lora")):
        base = transformers.AutoModelForCausalLM.from_pretrained(bases["llama"])
        with torch.no_grad():
            before = base(ids).logits
            outputs.append(PeftModel.from_pretrained(base, folder)(ids).logits)
        assert (outputs[-1] - before).abs().max() > 0.1
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-4, atol=1e-4)


def test_another_base_is_refused(writer: TrainResult, data: dict[str, str], tmp_path: Path) -> None:
    other = tiny.llama(tmp_path / "other", seed=9)
    with pytest.raises(BaseMismatchError):
        evaluate(writer.output, data=data["pairs"], base=other)
    wider = tiny.llama(tmp_path / "wider", hidden_size=64)
    with pytest.raises(BaseMismatchError):
        evaluate(writer.output, data=data["pairs"], base=wider)


def test_a_base_elsewhere(
    writer: TrainResult, bases: dict[str, str], data: dict[str, str], tmp_path: Path
) -> None:
    moved = shutil.copytree(bases["llama"], tmp_path / "moved")
    found = evaluate(writer.output, data=data["pairs"], base=moved)
    assert found.metrics["loss"] == pytest.approx(writer.metrics["loss"], rel=1e-6)
    adapter = shutil.copytree(writer.output, tmp_path / "adapter")
    record = json.loads((adapter / "training.json").read_text())
    record["settings"]["model"] = str(tmp_path / "gone")
    (adapter / "training.json").write_text(json.dumps(record))
    with pytest.raises(ModelError, match="gone"):
        evaluate(adapter, data=data["pairs"])


def test_adapters_of_other_programs(
    writer: TrainResult, classifier: TrainResult, data: dict[str, str], tmp_path: Path
) -> None:
    adapter = shutil.copytree(writer.output, tmp_path / "a")
    (adapter / "training.json").unlink()
    assert evaluate(adapter, data=data["pairs"]).metrics["loss"] == pytest.approx(
        writer.metrics["loss"], rel=1e-6
    )
    numbered = [
        {**row, "label": int(row["label"] == "fruit")} for row in tiny.classified_rows(24, start=1000)
    ]
    adapter = shutil.copytree(classifier.output, tmp_path / "b")
    (adapter / "training.json").unlink()
    found = evaluate(adapter, data=tiny.write_jsonl(tmp_path / "n.jsonl", numbered))
    assert found.metrics["accuracy"] == classifier.metrics["accuracy"]


def test_folders_that_are_no_adapter(
    writer: TrainResult, bases: dict[str, str], data: dict[str, str], tmp_path: Path
) -> None:
    for folder in (tmp_path / "none", Path(bases["llama"])):
        with pytest.raises(AdapterNotFoundError):
            evaluate(folder, data=data["pairs"])
    broken = shutil.copytree(writer.output, tmp_path / "broken")
    (broken / "training.json").write_text('{"format": 1')
    with pytest.raises(AdapterError, match=r"training\.json"):
        evaluate(broken, data=data["pairs"])
    (broken / "training.json").write_text('{"format": 99}')
    with pytest.raises(AdapterError, match="update nolakit"):
        evaluate(broken, data=data["pairs"])
    cut = shutil.copytree(writer.output, tmp_path / "cut")
    weights = cut / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(AdapterError, match="not a whole safetensors"):
        evaluate(cut, data=data["pairs"])


def test_splits_of_the_evaluation_data(writer: TrainResult, tmp_path: Path) -> None:
    tiny.write_jsonl(tmp_path / "train.jsonl", tiny.paired_rows(8))
    tiny.write_jsonl(tmp_path / "test.jsonl", tiny.paired_rows(4))
    assert evaluate(writer.output, data=tmp_path).rows == 4
    assert evaluate(writer.output, data=tmp_path, split="train").rows == 8
    with pytest.raises(ConfigError, match="'train'"):
        evaluate(writer.output, data=tmp_path, split="trian")
