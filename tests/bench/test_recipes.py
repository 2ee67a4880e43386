"""The papers' recipes: every row is one that the library takes; the command; what rows and networks are made."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import typer
from PIL import Image
from typer.testing import CliRunner

import tiny
from nolakit.bench.recipes import all_recipes, find_recipe
from nolakit.bench.recipes.architectures import fresh
from nolakit.bench.recipes.preparing import few_shot, prepare
from nolakit.bench.recipes.run import run_recipe
from nolakit.cli import bench_recipe, output
from nolakit.cli.bench_recipe import overrides
from nolakit.errors import ConfigError, DataError, OutputExistsError
from nolakit.tasks import count
from nolakit.tasks.configurations import BASELINES, build_config, refuse_options
from nolakit.tasks.data import load_splits

RECIPES = all_recipes()


@pytest.mark.parametrize("setup", sorted({one.setup for one in RECIPES.values()}))
def test_every_recipe_is_one_that_the_library_takes(setup):
    own = [one for one in RECIPES.values() if one.setup == setup]
    for one in own:
        settings = one.training("base", "data", "out", seed=1)
        if one.method in BASELINES:
            refuse_options(one.method, settings.options)
        else:
            heads = ["classifier"] * settings.classifies
            build_config(one.method, settings.options, task=one.task, heads=heads)
        assert one.data or one.data_note
    assert {one.method for one in own} >= ({"pranc"} if setup.startswith("resnet") else {"nola", "lora"})


CONFIGS = {
    "gpt2-l-e2e": transformers.GPT2Config(n_embd=1280, n_layer=36, n_head=20),
    "vit-l-cub200-5shot": transformers.ViTConfig(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096
    ),
    "roberta-base-sst2": transformers.RobertaConfig(vocab_size=50265, max_position_embeddings=514),
}
COUNTS = {  # by the formulas, where they differ from the papers' rounded numbers
    "gpt2-l-e2e-lora": 737_280, "vit-l-cub200-5shot-nola": 98_304, "vit-l-cub200-5shot-lora": 98_304,
    "vit-l-cub200-5shot-nola-half": 49_152, "roberta-base-sst2-nola": 12_288, "roberta-base-sst2-pranc": 10_000,
    "roberta-base-sst2-lora": 294_912, "roberta-base-sst2-vera": 24_576, "roberta-base-sst2-unilora": 24_576,
    "roberta-base-sst2-lora-xs": 6_144,
}  # fmt: skip


@pytest.mark.parametrize(
    "setup", [*CONFIGS, *(f"llama2-{size}-alpaca-4bit" for size in ("7b", "13b", "70b"))]
)
def test_recipes_train_as_many_numbers_as_published(setup, tmp_path):
    """On the architecture itself, without weights. GPT-2's c_attn holds q, k and v."""
    if setup in CONFIGS:
        CONFIGS[setup].save_pretrained(tmp_path)
        base = tmp_path
    else:
        base = Path(__file__).parents[1] / "data" / f"llama-2-{setup.split('-')[1]}.json"
    for one in RECIPES.values():
        if one.setup == setup and one.method not in BASELINES:
            (row,) = count(base, methods=[one.method], options={one.method: dict(one.options)})
            expected = COUNTS.get(one.name, one.published_numbers)
            assert row.trained == pytest.approx(expected, rel=0.03), one.name
            assert one.name not in COUNTS or row.trained == expected


def test_an_unknown_recipe_is_named():
    with pytest.raises(ConfigError, match="did you mean 'gpt2-m-e2e-nola'"):
        find_recipe("gpt2-m-e2e-nolla")


def test_few_rows_of_each_class():
    labels = ["a", "b", "b", "a", "a", "b", "b"] * 3
    drawn = few_shot(labels, 4, sample=0)
    assert Counter(labels[row] for row in drawn) == {"a": 4, "b": 4} and drawn == sorted(set(drawn))
    assert drawn == few_shot(labels, 4, sample=0) != few_shot(labels, 4, sample=1)
    with pytest.raises(DataError, match="found 9 rows of 'a'; expected at least 10"):
        few_shot(labels, 10, sample=0)


def test_a_test_split_is_measured_on_as_it_is(tmp_path):
    for split in ("train", "test"):
        tiny.image_folder(tmp_path / "images" / split)
    recipe = RECIPES["vit-b-cub200-10shot-nola"].changed({"shots": 3})
    prepared = prepare(recipe, str(tmp_path / "images"), "", tmp_path / "rows", 0)
    assert prepared.test == str(tmp_path / "images")
    assert {name: len(rows) for name, rows in load_splits(prepared.train).items()} == {"train": 6}


def test_resnet20_has_its_maps_and_is_always_the_same(tmp_path):
    state = torch.random.get_rng_state()
    first = fresh("resnet20", tmp_path / "first")
    again = fresh("resnet20", tmp_path / "again")
    assert torch.equal(torch.random.get_rng_state(), state)
    model = transformers.ResNetForImageClassification.from_pretrained(first)
    other = transformers.ResNetForImageClassification.from_pretrained(again)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
    processor = transformers.AutoImageProcessor.from_pretrained(first, backend="pil")
    pixels = processor(Image.new("RGB", (32, 32)), return_tensors="pt")["pixel_values"]
    maps = model.eval()(pixels, output_hidden_states=True).hidden_states
    assert [tuple(one.shape[1:]) for one in maps] == [(16, 32, 32), (16, 32, 32), (32, 16, 16), (64, 8, 8)]


def test_a_result_is_kept_and_data_must_be_named(tmp_path):
    recipe = RECIPES["gpt2-m-dart-nola"]
    with pytest.raises(DataError, match="found no data for 'gpt2-m-dart-nola'"):
        run_recipe(recipe, tmp_path / "new")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "recipe.json").write_text("{}")
    with pytest.raises(OutputExistsError):
        run_recipe(recipe, tmp_path / "old", data="x.jsonl")


@pytest.fixture(scope="module")
def command() -> Any:
    app = typer.Typer()
    app.command("recipe")(bench_recipe.command)
    return lambda *arguments: CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": "200"})


def test_the_command_lists_all(command, monkeypatch):
    monkeypatch.setattr(output.results, "_width", 200)  # a narrow table folds names
    listed = command("--json")
    assert [one["name"] for one in json.loads(listed.stdout)] == list(RECIPES)
    shown = command().stdout
    assert "vit-l-cub200-5shot-nola" in shown
    assert "published" in shown and shown.count("\n") > len(RECIPES)


def test_the_command_runs_one(command, tmp_path):
    found = command(
        "vit-l-caltech101-5shot-nola", "-o", tmp_path / "out", "--model", tiny.vit(tmp_path / "vit"), "--data",
        tiny.image_folder(tmp_path / "images"), "--runs", 1, "--set", "shots=2", "--set", "epochs=1",
        "--set", "options.num_basis=8", "--json",
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    row = json.loads(found.stdout)
    assert len(row["runs"]) == 1 and row["options"]["num_basis"] == 8 and row["published"]["accuracy"] == 90


def test_changes_are_read_as_json_or_text():
    read = overrides(["lr=1e-2", "quantize=null", "schedule=cosine", "options.r=4", 'evaluation.tasks=["a"]'])
    assert read == {
        "lr": 0.01, "quantize": None, "schedule": "cosine", "options": {"r": 4}, "evaluation": {"tasks": ["a"]},
    }  # fmt: skip


def test_the_page_has_the_tables_of_the_recipes():
    path = Path(__file__).parents[2] / "tools" / "recipes_table.py"
    spec = importlib.util.spec_from_file_location("recipes_table", path)
    assert spec and spec.loader
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    page = tool.PAGE.read_text(encoding="utf-8")
    assert tool.written(page) == page, "run python tools/recipes_table.py"
