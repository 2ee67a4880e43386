"""Each kind of recipe, trained and measured on a tiny model and tiny data."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import tiny
from nolakit.bench import text_scores
from nolakit.bench.recipes import all_recipes
from nolakit.bench.recipes.run import run_recipe
from nolakit.errors import ConfigError, UnsupportedError
from nolakit.tasks import generate
from nolakit.tasks.data import load_splits
from nolakit.tasks.loading import load_trained
from nolakit.tasks.models import load_tokenizer

RECIPES = all_recipes()
SHORT = {"epochs": 1, "max_steps": 2, "batch_size": 8, "accumulate": 1, "warmup": 0}


def gpt2(folder: Path) -> str:
    config = transformers.GPT2Config(
        vocab_size=len(tiny.SPECIAL) + len(tiny.WORDS), n_positions=64, n_embd=32, n_layer=2, n_head=4,
        bos_token_id=4, eos_token_id=5,
    )  # fmt: skip
    model = tiny.made(lambda: transformers.GPT2LMHeadModel(config))
    return tiny.save(model, folder, tiny.tokenizer(classifier=False))


def roberta(folder: Path) -> str:
    config = transformers.RobertaConfig(
        vocab_size=len(tiny.SPECIAL) + len(tiny.WORDS), max_position_embeddings=34, intermediate_size=48,
        pad_token_id=0, **tiny.SIZES,
    )  # fmt: skip
    return tiny.save(
        tiny.made(lambda: transformers.RobertaModel(config)), folder, tiny.tokenizer(classifier=True)
    )


def resnet(folder: Path) -> str:
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
    )
    processor = transformers.ViTImageProcessorPil(size={"height": 16, "width": 16})
    return tiny.save(tiny.made(lambda: transformers.ResNetForImageClassification(config)), folder, processor)


def test_gpt2_trains_and_its_texts_are_scored(tmp_path, monkeypatch):
    """Two references a prompt: 12 test rows are 6 prompts."""
    monkeypatch.setattr(text_scores.shutil, "which", lambda name: None)
    data = tmp_path / "e2e"
    data.mkdir()
    for split, number in {"train": 48, "validation": 8, "test": 12}.items():
        rows = tiny.paired_rows(number)
        with (data / f"{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["mr", "ref"])
            writer.writerows(
                [row["prompt"], row["completion"] + " one" * (i % 2)] for i, row in enumerate(rows)
            )
    changes = {**SHORT, "lr": 3e-2, "options": {"num_basis": 16}, "evaluation": {"max_new_tokens": 6}}
    recipe = RECIPES["gpt2-l-e2e-nola"]
    row = run_recipe(recipe, tmp_path / "out", model=gpt2(tmp_path / "gpt2"), data=data, overrides=changes)
    assert set(row["metrics"]) == {"train_loss", "loss", "bleu", "nist", "rouge_l", "cider"}
    assert row["trained"] == 2 * 2 * 16
    assert row["difference"]["bleu"] == row["metrics"]["bleu"] - 70.5
    assert json.loads((tmp_path / "out" / "recipe.json").read_text()) == json.loads(json.dumps(row))
    adapter, prompts = tmp_path / "out" / "sample-0-seed-0", ["the red cat", "the red apple"]
    words = [one.text.split() for one in generate(adapter, prompts, no_repeat_ngram=1)]
    assert all(len(set(own)) == len(own) for own in words)
    with pytest.raises(ConfigError, match="no_repeat_ngram=-1"):
        list(generate(adapter, prompts, no_repeat_ngram=-1))
    assert row["settings"]["label_smoothing"] == 0.1 and row["evaluation"]["num_beams"] == 10


@pytest.fixture(scope="module")
def alpaca(tmp_path_factory) -> dict[str, Any]:
    """A language model, instructions, and a task of multiple choice in the harness's own form."""
    folder = tmp_path_factory.mktemp("alpaca")
    rows = [
        {
            "instruction": row["prompt"],
            "input": "the red one" if i % 2 else "",
            "output": row["completion"],
            "text": "",
        }
        for i, row in enumerate(tiny.paired_rows(40))
    ]
    questions = [
        {"question": f"the {colour} apple is", "choices": ["sweet", "loud"], "answer": i % 2}
        for i, colour in enumerate(tiny.COLOURS)
    ]
    (folder / "tasks").mkdir()
    file = tiny.write_jsonl(folder / "questions.jsonl", questions)
    (folder / "tasks" / "fruit.yaml").write_text(
        f"task: fruit\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {file}\n"
        "output_type: multiple_choice\ntest_split: test\n"
        "doc_to_text: '{{question}}'\ndoc_to_choice: '{{choices}}'\ndoc_to_target: answer\n"
        "metric_list:\n  - metric: acc\n    aggregation: mean\n    higher_is_better: true\n"
    )
    return {
        "model": tiny.llama(folder / "llama", hidden_size=64, intermediate_size=64),  # bitsandbytes packs 64
        "data": tiny.write_jsonl(folder / "alpaca.jsonl", rows),
        "questions": questions,
        "overrides": {
            **SHORT,
            "dtype": "float32",
            "max_length": 64,
            "eval_every": None,
            "eval_fraction": 0.1,
            "options": {"num_basis": 8},
            "evaluation": {
                "tasks": ["fruit"],
                "include_path": str(folder / "tasks"),
                "num_fewshot": 0,
                "batch_size": 2,
            },
        },
    }


@pytest.mark.filterwarnings("ignore")  # the harness's own
def test_llama_trains_and_the_harness_measures_it(alpaca, tmp_path, monkeypatch):
    pytest.importorskip("lm_eval", reason="lm_eval is of the extra mmlu, which dev has")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    row = run_recipe(RECIPES["llama2-7b-alpaca-4bit-nola"], tmp_path / "out", **_given(alpaca))
    assert set(row["metrics"]) == {"train_loss", "loss", "fruit"}
    right = by_hand(tmp_path / "out" / "sample-0-seed-0", alpaca["questions"])
    assert row["metrics"]["fruit"] == 100 * sum(right) / len(right)
    assert row["trained"] == 2 * 7 * 2 * 8
    assert set(row["difference"]) == {"train_loss", "loss"}
    prompts = load_splits(str(tmp_path / "out" / "rows-0"))["train"]["prompt"]
    assert prompts[1].startswith("Below is an instruction that describes a task, paired with an input")
    assert prompts[1].endswith("### Input:\nthe red one\n\n### Response:\n")


def by_hand(adapter: Path, questions: list[dict[str, Any]]) -> list[bool]:
    """Whether the model finds the right choice, of one token each, the likelier."""
    trained = load_trained(adapter)
    tokenizer = load_tokenizer(trained.base)
    right = []
    for one in questions:
        with torch.no_grad():
            logits = trained.model(**tokenizer(one["question"], return_tensors="pt")).logits[0, -1]
        choices = [logits[tokenizer.convert_tokens_to_ids(choice)].item() for choice in one["choices"]]
        right.append(choices.index(max(choices)) == one["answer"])
    return right


def test_the_harness_is_named_where_it_is_missing(alpaca, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(UnsupportedError, match=r"'lm_eval'; pip install 'nolakit\[mmlu\]'"):
        run_recipe(RECIPES["llama2-7b-alpaca-8bit-lora"], tmp_path / "out", **_given(alpaca, options={}))


def _given(alpaca: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "model": alpaca["model"],
        "data": alpaca["data"],
        "overrides": {**alpaca["overrides"], **changes},
    }


@pytest.mark.parametrize("variant", ["nola", "lora", "head"])
def test_vit_learns_from_a_few_images(variant, tmp_path):
    """Two of twelve images of each class are drawn, anew for each sample; the other twenty are the test."""
    data, model = tiny.image_folder(tmp_path / "images"), tiny.vit(tmp_path / "vit")
    changes = {**SHORT, "shots": 2, "epochs": 2, "max_steps": None}
    recipe = RECIPES[f"vit-l-caltech101-5shot-{variant}"]
    if variant == "nola":
        changes["options"] = {"num_basis": 8}
    runs = [(0, 0), (1, 1)]
    row = run_recipe(recipe, tmp_path / "out", model=model, data=data, overrides=changes, seeds=runs)
    assert [(run["sample"], run["seed"]) for run in row["runs"]] == runs
    assert set(row["metrics"]) == {"train_loss", "loss", "accuracy", "macro_f1"} == set(row["std"])
    assert row["metrics"]["accuracy"] == sum(run["metrics"]["accuracy"] for run in row["runs"]) / 2
    assert row["trained"] == {"nola": 2 * 2 * 2 * 8, "lora": 2 * 2 * 64, "head": 0}[variant]
    first, second = (load_splits(str(tmp_path / "out" / f"rows-{sample}")) for sample in (0, 1))
    assert (len(first["train"]), len(first["test"])) == (4, 20)
    assert not set(first["train"]["image"]) & set(first["test"]["image"])
    assert set(first["train"]["image"]) != set(second["train"]["image"])


@pytest.mark.parametrize("method", ["nola", "pranc"])
def test_roberta_classifies_pairs_of_texts(method, tmp_path):
    data = tmp_path / "mrpc"
    data.mkdir()
    rows = tiny.classified_rows(40)
    pairs = [
        {"sentence1": row["text"], "sentence2": "the red one is sweet", "label": row["label"]} for row in rows
    ]
    tiny.write_jsonl(data / "train.jsonl", pairs[:32])
    tiny.write_jsonl(data / "validation.jsonl", pairs[32:])
    changes = {**SHORT, "max_length": None, "options": {"num_basis": 8}}
    row = run_recipe(
        RECIPES[f"roberta-base-mrpc-{method}"], tmp_path / "out", model=roberta(tmp_path / "roberta"), data=data,
        overrides=changes, seeds=[(0, 0)],
    )  # fmt: skip
    assert 0 <= row["metrics"]["accuracy"] <= 100 and row["std"] == {} and row["published"] == {}
    assert row["trained"] == {"nola": 2 * 2 * 2 * 8, "pranc": 8}[method]
    texts = load_splits(str(tmp_path / "out" / "rows-0"))["train"]["text"]
    assert texts[0].endswith(" [SEP] the red one is sweet")


def test_a_residual_network_is_made_by_pranc_from_nothing(tmp_path):
    data = tmp_path / "cifar"
    for split in ("train", "test"):
        tiny.image_folder(data / split)
    changes = {**SHORT, "options": {"num_basis": 20}}
    recipe = RECIPES["resnet20-cifar10-pranc-1000"]
    out = tmp_path / "out"
    row = run_recipe(recipe, out, model=resnet(tmp_path / "resnet"), data=data, overrides=changes)
    norms = 2 * (8 + 8 + 8 + 16 + 16 + 16)  # stem, two layers, shortcut of the second and its two
    assert row["trained"] == 20 + norms
    assert row["trained_head"] == 2 * 16 + 2
    config = json.loads((out / "sample-0-seed-0" / "adapter_config.json").read_text())
    assert config["from_scratch"] and any("normalization" in name for name in config["modules_to_save"])
