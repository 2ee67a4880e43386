"""Methods by name, options by type, targets by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import peft
import pytest
import transformers

import nolakit
import tiny
from nolakit import NolaConfig
from nolakit.errors import ConfigError, TargetError, UnsupportedError
from nolakit.tasks.configurations import build_config, config_class, method_names, option_defaults
from nolakit.tasks.learning_rates import LEARNING_RATES, head_learning_rate, learning_rate
from nolakit.tasks.option_values import parse_value
from nolakit.tasks.settings import TrainSettings
from nolakit.tasks.targets import check_targets


def build(method: str, **options: Any) -> Any:
    return build_config(method, options, task="causal-lm", heads=[])


def test_every_listed_method_has_a_configuration() -> None:
    names = method_names()
    assert {"nola", "lora", "vera", "peft:vera", "peft:randlora", "head", "full"} <= set(names)
    assert config_class("vera") is nolakit.VeraConfig and config_class("peft:vera") is peft.VeraConfig
    for name in names:
        if name not in ("head", "full"):
            assert option_defaults(name), name
    assert config_class("nola") is NolaConfig


def test_options_are_read_by_their_type() -> None:
    config = build(
        "nola", r="8", lora_alpha="4", share_basis="false", use_rslora="true", rank_pattern='{"q": 2}'
    )
    assert (config.r, config.lora_alpha, config.share_basis, config.use_rslora) == (8, 4, False, True)
    assert config.rank_pattern == {"q": 2}
    assert config.target_modules == "all-linear"
    assert build("nola", target_modules="q_proj,v_proj").target_modules == {"q_proj", "v_proj"}
    assert build("nola", target_modules="q_proj").target_modules == {"q_proj"}
    assert build("lora", target_modules=r".*\.q_proj").target_modules == r".*\.q_proj"


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("3", int, 3),
        ("3", float, 3),
        ("3", str, "3"),
        ("none", int | None, None),
        ("True", bool | Literal["gaussian"], True),
        ("gaussian", bool | Literal["gaussian"], "gaussian"),
        ("a,b", list[str] | str | None, ["a", "b"]),
        ("a", list[str] | None, ["a"]),
        ("[1, 2]", list[int], [1, 2]),
        ('{"a": 1}', dict | None, {"a": 1}),
    ],
)
def test_values(text: str, hint: Any, value: Any) -> None:
    found = parse_value("x", text, hint)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "hint"), [("x", int), ("1.5", int), ("true", int), ("x", bool), ("y", Literal["a"])]
)
def test_values_of_another_type_are_refused(text: str, hint: Any) -> None:
    with pytest.raises(ConfigError, match=f"x='{text}'; expected"):
        parse_value("x", text, hint)


def test_the_seed_goes_by_each_methods_name_for_it() -> None:
    assert build("nola", seed=7).seed == 7
    assert build("peft:vera", seed=7, r=4).projection_prng_key == 7
    assert build("fourierft", seed=7).random_loc_seed == 7
    with pytest.raises(ConfigError, match="data_seed"):
        build("lora", seed=7)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'nolla'.*did you mean 'nola'"):
        build("nolla")
    with pytest.raises(ConfigError, match=r"'num_bases'.*did you mean 'num_basis'"):
        build("nola", num_bases=4)
    with pytest.raises(UnsupportedError, match="adalora"):
        build("adalora")
    with pytest.raises(ConfigError, match="num_basis=0"):
        build("nola", num_basis=0)


def test_methods_that_cannot_hold_a_head_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="new head"):
        build_config("adaption_prompt", {}, task="text-classification", heads=["classifier"])


def test_targets_are_checked_by_name() -> None:
    model = tiny.made(lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=9, **SMALL)))
    check_targets(model, build("nola", target_modules=["q_proj", "layers.0.mlp.up_proj"]))
    with pytest.raises(TargetError, match=r"'q_porj'.*did you mean 'q_proj'"):
        check_targets(model, build("nola", target_modules=["v_proj", "q_porj"]))
    with pytest.raises(TargetError, match="regular expression"):
        check_targets(model, build("lora", target_modules="(q_proj"))
    with pytest.raises(TargetError, match=r"q_proj\|x"):
        check_targets(model, build("lora", target_modules="q_proj|x"))


SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def test_learning_rates_have_sources_and_are_filled_in(tmp_path: Path) -> None:
    known = {name.removeprefix("peft:") for name in method_names()}
    assert set(LEARNING_RATES) <= known | {"adalora"}
    assert learning_rate("nola").lr == 1e-2 and learning_rate("peft:vera") is LEARNING_RATES["vera"]
    assert all(rate.source and rate.lr > 0 for rate in LEARNING_RATES.values())
    settings = TrainSettings(task="causal-lm", model="m", data="d", output=str(tmp_path), method="lora")
    filled = settings.with_learning_rates()
    assert (filled.lr, filled.head_lr) == (learning_rate("lora").lr, head_learning_rate("lora").lr)


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "translation"},
        {"schedule": "linaer"},
        {"dtype": "int4"},
        {"quantize": "2bit"},
        {"batch_size": 0},
        {"lr": -1.0},
        {"eval_fraction": 1.0},
        {"eval_every": 3, "save_every": 4},
        {"method": "full", "quantize": "8bit"},
    ],
)
def test_settings_out_of_range(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(reversed(changes))):
        TrainSettings(**{"task": "causal-lm", "model": "m", "data": "d", "output": "o", **changes})
