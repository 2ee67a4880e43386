"""Updates that are applied without being made, or made without factors: all that PEFT and the exports do with them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from peft import PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.utils.hotswap import hotswap_adapter
from torch import nn

import nolakit
from export.proof import assert_same, reload
from nolakit.adapter.expand import Updates
from nolakit.adapter.files import open_adapter
from nolakit.errors import ConfigError, UnsupportedError
from nolakit.testing.adapting import move, updates
from nolakit.tuner.config import config_class
from small_models import BY_NAME, Case
from tuner.adapting import (
    TOLERANCE,
    assert_close,
    assert_differ,
    coefficients,
    gradients,
    logits,
    train,
)
from tuner.quantized import BASES, NOISE, relative
from tuner.quantized import CASE as QUANTIZED

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "randlora": ("randlora", {"r": 4, "lora_alpha": 8}),
    "mora 6": ("mora", {"r": 4}),
    "mora 1": ("mora", {"r": 4, "mora_type": 1}),
    "pranc": ("pranc", {"num_basis": 12}),
    "over a basis": ("randlora", {"r": 4, "lora_alpha": 8, "coefficient_basis": 12}),
}
DENSE = ["randlora", "mora 6", "pranc"]
OTHERS: dict[str, dict[str, Any]] = {  # a second adapter on the model: PEFT wants it to be of the same method
    "randlora": {"r": 2, "seed": 3},
    "mora 6": {"mora_type": 1},
    "mora 1": {"mora_type": 6, "r": 2},
    "pranc": {"whole_network": False, "lora_alpha": 5},
    "over a basis": {"coefficient_basis": None, "seed": 3},
}
LLAMA = BY_NAME["llama"]
by_method = pytest.mark.parametrize("method", METHODS)
by_case = pytest.mark.parametrize(
    "case", [LLAMA, BY_NAME["gpt2"], BY_NAME["vit"]], ids=lambda case: case.name
)


def config(case: Case, method: str, **changes: Any) -> Any:
    name, options = METHODS[method]
    task = {} if case.task_type is None else {"task_type": case.task_type}
    targets = list(case.targets)
    return config_class(name)(**{**options, "target_modules": targets, **case.options, **task, **changes})


def moved(case: Case, method: str, base: Any = None, adapter_name: str = "default", **changes: Any) -> Any:
    """The case's model under an adapter that changes it, always the same."""
    model = get_peft_model(
        case.make() if base is None else base, config(case, method, **changes), adapter_name=adapter_name
    )
    move(model, adapter=adapter_name)
    return model.eval()


def two_adapters(case: Case, method: str, **second: Any) -> Any:
    model = moved(case, method, adapter_name="first")
    model.add_adapter("second", config(case, method, **(second or OTHERS[method])))
    move(model, adapter="second", seed=4)
    return model.eval()


# In PEFT's layers

CONVOLUTIONS = {
    "plain": {"kernel_size": 3},
    "pointwise": {"kernel_size": 1},
    "strided": {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0)},
    "same": {"kernel_size": 3, "dilation": 2, "padding": "same"},
}


@by_method
@pytest.mark.parametrize("options", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_convolution_with_the_update(options, method):
    model = nn.Sequential(nn.Conv2d(8, 12, **options))
    model = get_peft_model(model, config(LLAMA, method, target_modules=["0"], task_type=None))
    move(model)
    layer = model.base_model.model[0]
    x = torch.randn(2, 8, 9, 7, generator=torch.Generator().manual_seed(0))
    base, update = layer.base_layer, layer.get_delta_weight("default")
    weight = base.weight + update
    expected = F.conv2d(x, weight, base.bias, base.stride, base.padding, base.dilation)
    assert_close(layer(x), expected)
    assert_differ(expected, base(x))
    model.merge_adapter()
    assert torch.equal(base.weight, weight)
    if method in DENSE:  # an identity is no convolution that rounds
        scaling = layer.scaling["default"]
        assert torch.equal(update, layer.lora_A["default"].weight * scaling)


@pytest.mark.filterwarnings("ignore:LoRA adapter added to ConvNd layer with groups")
@by_method
def test_grouped_convolutions_are_refused(method):
    model = nn.Sequential(nn.Conv2d(8, 12, 3, groups=4))
    with pytest.raises(UnsupportedError, match="grouped convolution at '0'"):
        get_peft_model(model, config(LLAMA, method, target_modules=["0"], task_type=None))
    assert type(model[0]) is nn.Conv2d


@by_case
@by_method
@pytest.mark.parametrize("safe_merge", [False, True])
def test_merge_and_unload(case, method, safe_merge):
    model, batch = moved(case, method), case.batch()
    expected = logits(model, batch)
    assert_differ(expected, logits(case.make(), batch))
    merged = model.merge_and_unload(safe_merge=safe_merge)
    assert type(merged) is type(case.make())
    assert_close(logits(merged, batch), expected)


@by_method
def test_safe_merge_of_a_broken_adapter(method):
    model = moved(LLAMA, method)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for value in coefficients(model).values():
        value[0] = float("nan")
    with pytest.raises(ValueError, match="NaNs detected"):
        model.merge_adapter(safe_merge=True)
    after = model.state_dict()
    assert all(torch.equal(after[name], one) for name, one in before.items() if "coefficients" not in name)


@by_case
@by_method
def test_mixed_batch(case, method):
    model, batch = two_adapters(case, method), case.batch(6)
    expected = {"__base__": logits(case.make(), batch)}
    for name in ("first", "second"):
        model.set_adapter(name)
        expected[name] = logits(model, batch)
    assert_differ(expected["first"], expected["second"])
    names = ["first", "second", "__base__", "__base__", "second", "first"]
    mixed = logits(model, batch, adapter_names=names)
    for row, name in enumerate(names):
        assert_close(mixed[row], expected[name][row])


@pytest.mark.filterwarnings("ignore:(Merge|Unmerge) lora module to .-bit linear may get different")
@pytest.mark.parametrize("name", BASES)
@by_method
def test_quantised_bases(name, method):
    model = moved(QUANTIZED, method, BASES[name]()).train()
    losses = train(model, QUANTIZED.batch(), steps=6, lr=0.02)
    assert losses[-1] < losses[0]
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        base, expected = layer.base_layer(x), layer(x)
        assert_close(expected - base, F.linear(x, layer.get_delta_weight("default")))
        model.merge_adapter()
        assert relative(layer(x), expected) < NOISE[name]
        model.unmerge_adapter()
        assert relative(layer(x), expected) < 2 * NOISE[name]


# Precision, recomputation, compilation


def cosine(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> torch.Tensor:
    a, b = (torch.cat([one.float().flatten() for one in grads.values()]) for grads in (found, expected))
    return F.cosine_similarity(a, b, dim=0)


def gradients_of_loss(model: Any, batch: Any, autocast: bool = False) -> dict[str, torch.Tensor]:
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        loss = model(**batch).loss
    loss.backward()
    return gradients(model)


@by_method
@pytest.mark.parametrize("coefficients_too", [False, True])
@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16(method, coefficients_too, autocast):
    """Over a base of 16 bits, and with numbers of 16 bits too, which PEFT's casting leaves at 32."""
    batch = LLAMA.batch()
    expected = gradients_of_loss(moved(LLAMA, method), batch)
    model = moved(LLAMA, method, LLAMA.make().to(torch.bfloat16))
    if coefficients_too:
        model.to(torch.bfloat16)
    found = gradients_of_loss(model, batch, autocast)
    dtype = torch.bfloat16 if coefficients_too else torch.float32
    assert {value.dtype for value in found.values()} == {dtype}
    assert cosine(found, expected) > 0.98
    merged = copy.deepcopy(model).merge_and_unload()
    torch.testing.assert_close(logits(model, batch), logits(merged, batch), rtol=0.1, atol=0.05)


@by_method
def test_autocast_over_float32(method):
    model, batch = moved(LLAMA, method), LLAMA.batch()
    found, expected = gradients_of_loss(model, batch, True), gradients_of_loss(moved(LLAMA, method), batch)
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert cosine(found, expected) > 0.98


@by_method
@pytest.mark.parametrize("use_reentrant", [False, True])
def test_gradient_checkpointing(method, use_reentrant):
    batch = LLAMA.batch()
    expected = gradients_of_loss(moved(LLAMA, method).train(), batch)
    model = moved(LLAMA, method).train()
    model.enable_input_require_grads()
    model.activation_checkpointing_enable({"use_reentrant": use_reentrant})
    assert_close(gradients_of_loss(model, batch), expected)


@by_method
def test_compiles_to_one_graph(method):
    """Of a convolution and a linear layer."""
    case = BY_NAME["plain"]
    batch = {key: value for key, value in case.batch().items() if key != "labels"}
    eager, model = moved(case, method), moved(case, method)
    expected = eager(**batch).logits
    expected.square().sum().backward()
    torch.compiler.reset()
    found = torch.compile(model, backend="aot_eager", fullgraph=True)(**batch).logits
    found.square().sum().backward()
    assert_close(found, expected)
    assert_close(gradients(model), gradients(eager))


@by_method
def test_numbers_of_few_bits_are_rounded_in_every_form(method, tmp_path):
    model, batch = moved(LLAMA, method, coefficient_bits=4), LLAMA.batch()
    expected = logits(model, batch)
    assert_differ(expected, logits(moved(LLAMA, method), batch))
    assert_close(logits(copy.deepcopy(model).merge_and_unload(), batch), expected)
    model.save_pretrained(tmp_path / "adapter")
    packed = nolakit.write_packed(tmp_path / "adapter", tmp_path / "x.safetensors", bits=4)
    assert_close(logits(nolakit.load(LLAMA.make(), packed).eval(), batch), expected)


# Files and exports


@by_method
def test_hotswap(method, tmp_path):
    scaled = {} if method == "pranc" else {"lora_alpha": 5}
    other = moved(LLAMA, method, **scaled)
    move(other, seed=11)
    other.save_pretrained(tmp_path)
    model, batch = moved(LLAMA, method), LLAMA.batch()
    assert_differ(logits(model, batch), logits(other, batch))
    hotswap_adapter(model, tmp_path, adapter_name="default")
    assert torch.equal(logits(model, batch), logits(other, batch))


@pytest.mark.parametrize("change", [{"lora_alpha": 5}, {"target_modules": ["q_proj"]}])
def test_hotswap_of_shared_numbers_is_refused_where_modules_would_keep_what_they_had(change, tmp_path):
    """PEFT sets the scaling of modules that have numbers in the file, and clears those that have none there."""
    moved(LLAMA, "pranc", **change).save_pretrained(tmp_path)
    key = "lora_alpha" if "lora_alpha" in change else "module_names"
    with pytest.raises(ValueError, match=f"Configs are incompatible: for {key}"):
        hotswap_adapter(moved(LLAMA, "pranc"), tmp_path, adapter_name="default")


@by_method
@pytest.mark.parametrize("case", [LLAMA, BY_NAME["gpt2"]], ids=lambda case: case.name)
def test_merging_files_equals_pefts_merging(case, method, tmp_path):
    case.make().save_pretrained(tmp_path / "base")
    moved(case, method).save_pretrained(tmp_path / "adapter")
    out = nolakit.export_merged(tmp_path / "adapter", tmp_path / "merged", base=tmp_path / "base")
    merged = moved(case, method).merge_and_unload(safe_merge=True)
    assert_same(reload(merged, out), merged)


@pytest.mark.parametrize("method", DENSE)
@pytest.mark.parametrize("case", [LLAMA, BY_NAME["plain"]], ids=lambda case: case.name)
def test_lora_export_refuses_or_approximates(case, method, tmp_path):
    model = moved(case, method, task_type=None)
    model.save_pretrained(tmp_path / "adapter")
    name = METHODS[method][0]
    with pytest.raises(UnsupportedError, match=f"{name!r} adapter.*full rank.*--approximate-rank"):
        nolakit.export_lora(tmp_path / "adapter", tmp_path / "lora")
    assert not (tmp_path / "lora").exists()
    errors: list[float] = []
    nolakit.export_lora(tmp_path / "adapter", tmp_path / "low", approximate_rank=3, report=errors.append)
    nolakit.export_lora(tmp_path / "adapter", tmp_path / "full", approximate_rank=999, report=errors.append)
    expected = updates(model)
    norm = sum(float(update.square().sum()) for update in expected.values()) ** 0.5
    for folder, error in zip(("low", "full"), errors, strict=True):
        lora = PeftModel.from_pretrained(case.make(), tmp_path / folder)
        assert type(lora.peft_config["default"]).__name__ == "LoraConfig"
        gaps = [float((updates(lora)[name] - update).square().sum()) for name, update in expected.items()]
        assert sum(gaps) ** 0.5 / norm == pytest.approx(error, abs=1e-5)
    assert 0.1 < errors[0] < 1 and errors[1] < 1e-5
    assert_close(logits(lora.eval(), case.batch()), logits(model, case.batch()))


def test_factors_of_a_fused_method_are_exported_as_they_are(tmp_path):
    model, batch = moved(LLAMA, "mora 1"), LLAMA.batch()
    model.save_pretrained(tmp_path / "adapter")
    folder = nolakit.export_lora(tmp_path / "adapter", tmp_path / "lora")
    lora = PeftModel.from_pretrained(LLAMA.make(), folder).eval()
    assert_close(updates(lora), updates(model))
    assert_close(logits(lora, batch), logits(model, batch))
    assert lora.peft_config["default"].r > 4  # r^, and r is the r of MoRA
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    expanded = nolakit.expand(tmp_path / "adapter")
    for role in ("lora_A", "lora_B"):
        expected = expanded[f"base_model.model.model.layers.0.self_attn.q_proj.{role}.weight"]
        assert torch.equal(getattr(layer, role)["default"].weight.clone(), expected)


@pytest.mark.parametrize("method", DENSE)
def test_gguf_is_refused(method, tmp_path):
    base = LLAMA.make()
    base.save_pretrained(tmp_path / "base")
    moved(LLAMA, method, base).save_pretrained(tmp_path / "adapter")
    with pytest.raises(UnsupportedError, match=f"{METHODS[method][0]!r} adapter.*full rank"):
        nolakit.export_gguf(tmp_path / "adapter", tmp_path / "x.gguf", base=tmp_path / "base")
    assert not (tmp_path / "x.gguf").exists()


@by_method
def test_updates_without_a_model(method, tmp_path):
    model = moved(LLAMA, method)
    model.save_pretrained(tmp_path)
    file = open_adapter(tmp_path)
    made, expected = Updates(file), updates(model)
    scaling = {name: layer.scaling["default"] for name, layer in named_layers(model)}
    modules = file.checked_modules()
    assert len(modules) == len(expected)
    for module in modules:
        name = module.key.removeprefix("base_model.model.")
        assert torch.equal(made.update(module) * scaling[name], expected[name])


# Sums of adapters


def named_layers(model: Any) -> list[tuple[str, Any]]:
    return [
        (name.removeprefix("base_model.model."), layer)
        for name, layer in model.named_modules()
        if isinstance(layer, LoraLayer)
    ]


@by_case
@by_method
def test_weighted_sum_by_singular_values(case, method):
    model = two_adapters(case, method)
    first, second = updates(model, "first"), updates(model, "second")
    model.base_model.add_weighted_adapter(
        ["second", "first"], [0.5, -1.0], "sum", combination_type="svd", svd_rank=32, svd_full_matrices=False
    )
    for name, layer in named_layers(model):
        torch.testing.assert_close(
            layer.get_delta_weight("sum"), 0.5 * second[name] - first[name], **TOLERANCE
        )
    assert model.peft_config["first"].peft_type.startswith("NOLAKIT_")


@pytest.mark.parametrize("method", DENSE)
def test_sums_of_factors_are_refused(method):
    model = two_adapters(LLAMA, method)
    for combination in ("cat", "linear", "ties", "dare_linear", "magnitude_prune"):
        with pytest.raises(UnsupportedError, match="full rank and no factors"):
            model.base_model.add_weighted_adapter(["second", "first"], [1, 1], "sum", combination)
    with pytest.raises(ConfigError, match="svd_rank=None"):
        model.base_model.add_weighted_adapter(["first", "second"], [1, 1], "sum")
    assert list(model.peft_config) == ["first", "second"]


def test_concatenation_takes_the_rank_that_factors_have():
    """MoRA's is the width of its matrix, larger than r."""
    model = two_adapters(LLAMA, "mora 1", mora_type=1, r=2)
    expected = updates(model, "first"), updates(model, "second")
    model.base_model.add_weighted_adapter(["first", "second"], [0.5, 2], "sum", "cat")
    for name, layer in named_layers(model):
        assert_close(layer.get_delta_weight("sum"), 0.5 * expected[0][name] + 2 * expected[1][name])
