"""Adapters of a linear method add up in their numbers, in a model and in files; others refuse, with the reason."""

import copy
import json

import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

import nolakit
from nolakit import LoraXsConfig, NolaConfig
from nolakit.errors import AdapterError, BaseMismatchError, ConfigError, UnsupportedError
from small_models import BY_NAME
from tuner.adapting import assert_close, assert_differ, coefficients, logits, randomize

LINEAR = {
    "lora_xs": {"r": 4},
    "stored": {"r": 4, "store_frozen": True},
    "over a basis": {"r": 6, "coefficient_basis": 5},
    "scaled": {"r": 4, "use_rslora": True, "lora_alpha": 6},
    "of 4 bits": {"r": 4, "coefficient_bits": 4},
}
WEIGHTS = [0.75, -1.5, 0.5]
by_options = pytest.mark.parametrize("options", LINEAR.values(), ids=LINEAR)


def config(case, **options):
    return LoraXsConfig(**{"target_modules": list(case.targets), "task_type": case.task_type, **options})


def trained(case, config, seed):
    model = get_peft_model(case.make(), config)
    randomize(model, seed=seed)
    return model.eval()


def saved(tmp_path, case=BY_NAME["llama"], number=3, **options):
    folders = [tmp_path / str(seed) for seed in range(number)]
    for seed, folder in enumerate(folders):
        trained(case, config(case, **options), seed).save_pretrained(folder)
    return folders


def updates(model, adapter="default"):
    layers = [module for module in model.modules() if hasattr(module, "get_delta_weight")]
    return [layer.get_delta_weight(adapter).detach() for layer in layers]


def expected_updates(case, folders, weights):
    parts = [updates(nolakit.load(case.make(), folder)) for folder in folders]
    return [
        sum(w * part.double() for w, part in zip(weights, each, strict=True))
        for each in zip(*parts, strict=True)
    ]


@pytest.mark.parametrize("name", ["llama", "gpt2", "vit"])
@by_options
def test_files_add_up(name, options, tmp_path):
    case = BY_NAME[name]
    options = {**case.options, **options}
    folders = saved(tmp_path, case, **options)
    made = nolakit.weighted_sum(folders, WEIGHTS, tmp_path / "sum")
    found = nolakit.load(case.make(), made)
    for update, expected in zip(updates(found), expected_updates(case, folders, WEIGHTS), strict=True):
        assert_close(update.double(), expected)
    if "coefficient_bits" not in options:  # number by number
        parts = [load_file(folder / "adapter_model.safetensors") for folder in folders]
        for key, value in load_file(made / "adapter_model.safetensors").items():
            if key.endswith("coefficients"):
                exact = torch.stack(
                    [w * part[key].double() for w, part in zip(WEIGHTS, parts, strict=True)]
                ).sum(dim=0)
                assert torch.equal(value, exact.float())
            else:
                assert torch.equal(value, parts[0][key])


@by_options
def test_adapters_of_a_model_add_up(options, tmp_path):
    case = BY_NAME["llama"]
    model = trained(case, config(case, **options), 0)
    names = ["default", "second", "third"]
    for seed, name in enumerate(names[1:]):
        model.add_adapter(name, config(case, **options))
        randomize(model, name, seed + 1)
    parts = [updates(model, name) for name in names]
    before = copy.deepcopy({name: coefficients(model, name) for name in names})
    model.base_model.add_weighted_adapter(names, WEIGHTS, "sum", combination_type="linear")
    assert model.peft_config["sum"].peft_type == "NOLAKIT_LORA_XS"
    for layer, made in enumerate(updates(model, "sum")):
        assert_close(made, sum(w * part[layer] for w, part in zip(WEIGHTS, parts, strict=True)))
    assert not any(value.requires_grad for name, value in model.named_parameters() if ".sum." in name)
    for name in names:
        assert all(torch.equal(value, before[name][key]) for key, value in coefficients(model, name).items())
    model.set_adapter("sum")
    outputs = logits(model, case.batch())
    assert_differ(outputs, logits(case.make(), case.batch()))
    model.save_pretrained(tmp_path, selected_adapters=["sum"])
    assert torch.equal(
        logits(PeftModel.from_pretrained(case.make(), tmp_path / "sum").eval(), case.batch()), outputs
    )


@pytest.mark.parametrize("second", [{"r": 3}, {"lora_alpha": 9}, {"coefficient_basis": 5}])
def test_adapters_of_two_configurations_become_lora(second):
    case = BY_NAME["llama"]
    model = trained(case, config(case, r=4), 0)
    model.add_adapter("other", config(case, **{"r": 4, **second}))
    model.base_model.add_weighted_adapter(["default", "other"], [1.0, 1.0], "sum", combination_type="cat")
    assert model.peft_config["sum"].peft_type == "LORA"
    if second.get("r", 4) == 4:
        model.base_model.add_weighted_adapter(
            ["default", "other"], [1.0, 1.0], "rough", combination_type="linear"
        )
        assert model.peft_config["rough"].peft_type == "LORA"


def test_packed_files_add_up(tmp_path):
    case = BY_NAME["llama"]
    folders = saved(tmp_path, r=4)
    files = [nolakit.write_packed(folder, tmp_path / f"{folder.name}.safetensors", bits=bits) for folder, bits in
             zip(folders, (32, 8, 4), strict=True)]  # fmt: skip
    found = nolakit.load(case.make(), nolakit.weighted_sum(files, WEIGHTS, tmp_path / "sum"))
    for update, expected in zip(updates(found), expected_updates(case, files, WEIGHTS), strict=True):
        assert_close(update.double(), expected)


def test_heads_are_averaged_but_not_added(tmp_path):
    case = BY_NAME["bert"]  # whose classifier PEFT trains and saves
    folders = saved(tmp_path, case, 2, r=4)
    record = {"format": 1, "settings": {"task": "text-classification", "data": "x"}, "labels": ["a", "b", "c"],
              "columns": {}, "max_length": 9, "metrics": {"accuracy": 1.0}}  # fmt: skip
    for seed, folder in enumerate(folders):
        (folder / "training.json").write_text(json.dumps(record))
        tensors = load_file(folder / "adapter_model.safetensors")
        head = next(key for key in tensors if key.endswith("classifier.weight"))
        save_file({**tensors, head: torch.full_like(tensors[head], float(seed))}, folder / "adapter_model.safetensors",
                  {"format": "pt"})  # fmt: skip
    made = nolakit.weighted_sum(folders, [0.25, 0.75], tmp_path / "sum")
    assert (load_file(made / "adapter_model.safetensors")[head] == 0.75).all()
    kept = json.loads((made / "training.json").read_text())
    assert kept["labels"] == ["a", "b", "c"] and "metrics" not in kept and "data" not in kept["settings"]
    with pytest.raises(UnsupportedError, match="add up to 2"):
        nolakit.weighted_sum(folders, [1.0, 1.0], tmp_path / "other")
    (folders[1] / "training.json").write_text(json.dumps({**record, "labels": ["b", "a", "c"]}))
    with pytest.raises(AdapterError, match="labels"):
        nolakit.weighted_sum(folders, [0.5, 0.5], tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_methods_that_are_not_linear_refuse(tmp_path):
    case = BY_NAME["llama"]
    nola = NolaConfig(num_basis=4, r=2, target_modules=case.targets, task_type=case.task_type)
    trained(case, nola, 0).save_pretrained(tmp_path / "a")
    with pytest.raises(UnsupportedError, match=r"quadratic.*cat"):
        nolakit.weighted_sum([tmp_path / "a"] * 2, [0.5, 0.5], tmp_path / "sum")


OTHERS = {
    "r": {"r": 3},
    "lora_alpha": {"lora_alpha": 9},
    "options": {"coefficient_basis": 7},
    "modules": {"target_modules": ["q_proj"]},
}


@pytest.mark.parametrize("what, second", OTHERS.items(), ids=OTHERS)
def test_adapters_of_other_configurations_are_refused(what, second, tmp_path):
    case = BY_NAME["llama"]
    trained(case, config(case, r=4), 0).save_pretrained(tmp_path / "a")
    trained(case, config(case, **{"r": 4, **second}), 1).save_pretrained(tmp_path / "b")
    with pytest.raises(AdapterError, match=what):
        nolakit.weighted_sum([tmp_path / "a", tmp_path / "b"], [0.5, 0.5], tmp_path / "sum")


@pytest.mark.parametrize("store_frozen", [False, True])
@pytest.mark.parametrize("unknown", [False, True])
def test_adapters_of_other_bases_are_refused(store_frozen, unknown, tmp_path):
    case = BY_NAME["llama"]
    folders = saved(tmp_path, number=1, r=4, store_frozen=store_frozen)
    other = get_peft_model(case.make(seed=5), config(case, r=4, store_frozen=store_frozen))
    other.save_pretrained(tmp_path / "b")
    if unknown:  # then the frozen parts tell, which both were trained for
        path = tmp_path / "b" / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "base_fingerprint": None}))
    with pytest.raises(BaseMismatchError):
        nolakit.weighted_sum([*folders, tmp_path / "b"], [0.5, 0.5], tmp_path / "sum")


@pytest.mark.parametrize("weights", [[], [0.5], [float("nan"), 0.5]])
def test_weights_must_be_as_many_as_adapters(weights, tmp_path):
    with pytest.raises(ConfigError, match="finite number for each"):
        nolakit.weighted_sum(saved(tmp_path, number=2, r=2), weights, tmp_path / "sum")
