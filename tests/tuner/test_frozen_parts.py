"""Frozen parts that the base's weights give: the same at every load, refused where the weights are others."""

import json

import bitsandbytes as bnb
import pytest
import torch
import transformers
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn

import nolakit
from nolakit import LoraXsConfig, TinyLoraConfig
from nolakit.errors import AdapterError, BaseMismatchError, BaseNeededError
from nolakit.methods import singular
from nolakit.tuner.layers import computed_layers
from small_models import BY_NAME, llama_config
from tuner.adapting import TOLERANCE, logits, randomize

METHODS = {
    "lora_xs": (LoraXsConfig, {"r": 4}),
    "tinylora": (TinyLoraConfig, {"r": 3, "u": 6, "weight_tying": 0.6}),
    "nora": (nolakit.NoraConfig, {"r": 8, "inner_rank": 3, "lora_alpha": 30}),
    "nora aware": (nolakit.NoraConfig, {"r": 8, "inner_rank": 3, "lora_alpha": 30, "activation_aware": True}),
    "basis_conv": (nolakit.BasisConvConfig, {"r": 3, "train_basis": True}),
}
STORING = {
    **{name: (kind, {**options, "store_frozen": True}) for name, (kind, options) in METHODS.items()},
    "lora_sb": (nolakit.LoraSbConfig, {"r": 4, "first_step": 0.01}),
}
WIDE = lambda: transformers.LlamaForCausalLM(  # noqa: E731 - bitsandbytes packs 64 inputs at a time
    llama_config(hidden_size=64, intermediate_size=128)
)


def falling(model):
    """Weights whose singular values fall, as those of pre-trained models do."""
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if (
            isinstance(weight, nn.Parameter)
            and weight.dim() in (2, 4)
            and not isinstance(module, nn.Embedding)
        ):
            u, s, vh = torch.linalg.svd(weight.detach().flatten(1), full_matrices=False)
            falls = s[0] * torch.arange(1, len(s) + 1) ** -0.8
            weight.data = (u * falls @ vh).reshape(weight.shape).contiguous()
    return model


def base(case="llama", seed=0, dtype=torch.float32):
    return falling(BY_NAME[case].make(seed)).to(dtype)


def adapted(name, case="llama", model=None, table=METHODS):
    config_class, options = table[name]
    row = BY_NAME[case]
    config = config_class(target_modules=list(row.targets), **options, **row.options)
    model = get_peft_model(base(case) if model is None else model, config)
    nolakit.calibrate(model, [row.batch()])
    randomize(model)
    return model.eval()


@pytest.fixture(params=METHODS)
def name(request):
    return request.param


@pytest.fixture(params=STORING)
def storing(request):
    return request.param


def bitsandbytes_4(model):
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and name != "lm_head":
            new = bnb.nn.Linear4bit(
                module.in_features,
                module.out_features,
                bias=False,
                compute_dtype=torch.float32,
                quant_type="nf4",
            )
            new.load_state_dict(module.state_dict())
            model.set_submodule(name, new)
    model.is_loaded_in_4bit = True
    return model.to("cpu")


def wide():
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return falling(WIDE()).eval()


def test_another_base_is_refused_even_without_its_fingerprint(name, tmp_path):
    """A fingerprint looks at a few values of a few weights; the check at all of each."""
    adapted(name).save_pretrained(tmp_path)
    with pytest.raises(BaseMismatchError, match="weights are"):
        PeftModel.from_pretrained(base(seed=1), tmp_path)
    changed = base()
    weight = changed.model.layers[1].self_attn.v_proj.weight.data
    weight[1:, 1:] = weight[1:, 1:].flip(0)
    with pytest.raises(
        BaseMismatchError, match=r"at 'layers\.1\.self_attn\.v_proj' gives other frozen parts"
    ):
        logits(PeftModel.from_pretrained(changed, tmp_path).eval(), BY_NAME["llama"].batch())


def test_a_base_rounded_to_4_bits_is_refused_unless_the_parts_are_stored(tmp_path):
    batch = BY_NAME["llama"].batch()
    for table, folder in ((METHODS, "computed"), (STORING, "stored")):
        model = adapted("lora_xs", model=wide(), table=table)
        model.save_pretrained(tmp_path / folder)
    with pytest.raises(BaseMismatchError, match=r"quantised or rounded.*store_frozen=True"):
        PeftModel.from_pretrained(bitsandbytes_4(wide()), tmp_path / "computed")
    loaded = PeftModel.from_pretrained(bitsandbytes_4(wide()), tmp_path / "stored").eval()
    for (_, one, _), (_, other, _) in zip(
        computed_layers(loaded, "default"), computed_layers(model, "default"), strict=True
    ):
        assert torch.equal(one.get_delta_weight("default"), other.get_delta_weight("default"))
    assert (logits(loaded, batch) - logits(model, batch)).norm() < 0.5 * logits(model, batch).norm()


def test_a_base_rounded_to_bfloat16_passes_the_check(name, tmp_path):
    model = adapted(name)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(base(dtype=torch.bfloat16), tmp_path)
    for (_, one, _), (_, other, _) in zip(
        computed_layers(loaded, "default"), computed_layers(model, "default"), strict=True
    ):
        found, expected = one.get_delta_weight("default").float(), other.get_delta_weight("default")
        assert (found - expected).norm() < 0.05 * expected.norm()


@pytest.mark.parametrize("share, passes", [(0.01, True), (0.3, False)])
def test_what_the_check_tolerates(share, passes, tmp_path):
    """Parts that are a hundredth apart pass, a third is another base; the noise is fixed."""
    adapted("lora_xs").save_pretrained(tmp_path)

    def disturbed():
        model, generator = base(), torch.Generator().manual_seed(0)
        for layer in model.model.layers:
            for module in (layer.self_attn.q_proj, layer.self_attn.v_proj, layer.mlp.down_proj):
                noise = torch.randn(module.weight.shape, generator=generator)
                module.weight.data += share * noise * module.weight.norm() / noise.norm()
        return model

    config = nolakit.LoraXsConfig.from_pretrained(tmp_path)
    config.base_fingerprint = None
    if passes:
        PeftModel.from_pretrained(disturbed(), tmp_path, config=config)
    else:
        with pytest.raises(BaseMismatchError, match="other frozen parts"):
            PeftModel.from_pretrained(disturbed(), tmp_path, config=config)
    config.frozen_check = None  # "to try it anyway"
    PeftModel.from_pretrained(disturbed(), tmp_path, config=config)


def another_lapack(monkeypatch, change):
    """Whatever `change` makes of the singular vectors."""
    original = singular.leading_singular

    def other(weight, rank):
        return change(*original(weight, rank))

    for module in ("lora_xs", "tinylora", "nora", "basis_conv"):
        monkeypatch.setattr(f"nolakit.methods.{module}.leading_singular", other)


def flipped(u, s, v):
    signs = torch.ones(len(s))
    signs[0] = -1
    return u * signs, s, v * signs


def rotated(u, s, v):
    """The first two vectors turned in their plane, as where their singular values are equal."""
    turn = torch.eye(len(s))
    turn[:2, :2] = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    return u @ turn, s, v @ turn


@pytest.mark.parametrize("change", [flipped, rotated], ids=lambda change: change.__name__)
def test_vectors_of_another_lapack_are_refused_unless_the_parts_are_stored(
    name, change, monkeypatch, tmp_path
):
    batch = BY_NAME["llama"].batch()
    for table, folder in ((METHODS, "computed"), (STORING, "stored")):
        model = adapted(name, table=table)
        model.save_pretrained(tmp_path / folder)
    another_lapack(monkeypatch, change)
    with pytest.raises(BaseMismatchError, match="LAPACK took other vectors"):
        logits(PeftModel.from_pretrained(base(), tmp_path / "computed").eval(), batch)
    loaded = PeftModel.from_pretrained(base(), tmp_path / "stored").eval()
    assert torch.equal(logits(loaded, batch), logits(model, batch))


def test_stored_parts_that_the_file_lacks_are_missed_at_once(storing, tmp_path):
    """Where they would stay zero, the adapter would silently do nothing."""
    adapted(storing, table=STORING).save_pretrained(tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    tensors = load_file(file)
    lost = next(key for key in sorted(tensors) if key.endswith(".lora_A.frozen"))
    save_file({key: value for key, value in tensors.items() if key != lost}, file)
    with pytest.raises(AdapterError, match=f"no '{lost}'"):
        PeftModel.from_pretrained(base(), tmp_path)
    with pytest.raises(AdapterError, match=f"found '{lost}' absent"):
        nolakit.expand(tmp_path)


def test_measurements_that_the_file_lacks_are_missed_at_once(tmp_path):
    adapted("nora aware").save_pretrained(tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    save_file({key: value for key, value in load_file(file).items() if not key.endswith(".measured")}, file)
    with pytest.raises(AdapterError, match=r"no '.*lora_A\.measured'"):
        PeftModel.from_pretrained(base(), tmp_path)


@pytest.mark.parametrize("case", ["llama", "gpt2", "vit"])
@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_reload(storing, case, low_cpu_mem_usage, tmp_path):
    """Computed or stored, on Linear, Conv1D and Conv2d."""
    for table in (METHODS, STORING):
        if storing not in table:
            continue
        model = adapted(storing, case, table=table)
        model.save_pretrained(tmp_path)
        loaded = PeftModel.from_pretrained(base(case), tmp_path, low_cpu_mem_usage=low_cpu_mem_usage).eval()
        batch = BY_NAME[case].batch()
        assert torch.equal(logits(loaded, batch), logits(model, batch))
        assert not torch.equal(logits(loaded, batch), logits(base(case), batch))


@pytest.mark.parametrize("trained_on, loaded_on", [("full", "bare"), ("bare", "full")])
def test_with_and_without_a_head(storing, trained_on, loaded_on, tmp_path):
    """AutoModelForCausalLM holds its layers under `model.`, AutoModel does not."""

    def build(kind):
        return base() if kind == "full" else base().model

    for table in (METHODS, STORING):
        if storing not in table:
            continue
        config_class, options = table[storing]
        model = get_peft_model(
            build(trained_on), config_class(target_modules=["q_proj", "v_proj"], **options)
        )
        batch = {"input_ids": BY_NAME["llama"].batch()["input_ids"]}
        nolakit.calibrate(model, [batch], loss=lambda output, batch: output[0].square().mean())
        randomize(model)
        model.save_pretrained(tmp_path)
        loaded = PeftModel.from_pretrained(build(loaded_on), tmp_path)
        found, expected = (
            [layer.get_delta_weight("default") for _, layer, _ in computed_layers(one, "default")]
            for one in (loaded, model)
        )
        assert len(found) == 4
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_expanding_needs_the_base_or_stored_parts(storing, tmp_path):
    model = adapted(storing, table=STORING)
    model.save_pretrained(tmp_path / "stored")
    assert len(nolakit.expand(tmp_path / "stored")) == 12
    found = nolakit.inspect(tmp_path / "stored")
    tensors = load_file(tmp_path / "stored" / "adapter_model.safetensors")
    assert found.stored_parts == sum(t.numel() for key, t in tensors.items() if ".frozen" in key) > 0
    assert found.trained == sum(t.numel() for key, t in tensors.items() if key.endswith("coefficients"))
    if storing in METHODS:
        adapted(storing).save_pretrained(tmp_path / "computed")
        with pytest.raises(BaseNeededError, match=r"--base.*store_frozen=True"):
            nolakit.expand(tmp_path / "computed")
        with pytest.raises(BaseNeededError, match="found no weight at"):
            nolakit.expand(tmp_path / "computed", weight_at=lambda path: None)


@pytest.mark.parametrize("case", ["llama", "gpt2"])
def test_exported_lora_equals_the_live_update(storing, case, tmp_path):
    base(case).save_pretrained(tmp_path / "base")
    for table in (METHODS, STORING):
        if storing not in table:
            continue
        model = adapted(storing, case, table=table)
        model.save_pretrained(tmp_path / "adapter")
        nolakit.export_lora(tmp_path / "adapter", tmp_path / "lora", base=tmp_path / "base", overwrite=True)
        loaded = PeftModel.from_pretrained(base(case), tmp_path / "lora")
        for name, layer, _ in computed_layers(model, "default"):
            expected = layer.get_delta_weight("default")
            found = loaded.get_submodule(name).get_delta_weight("default")
            torch.testing.assert_close(found, expected, **TOLERANCE)


@pytest.mark.parametrize("case", ["llama", "gpt2"])
def test_merged_files_equal_pefts_merge(storing, case, tmp_path):
    base(case).save_pretrained(tmp_path / "base")
    for table in (METHODS, STORING):
        if storing not in table:
            continue
        model = adapted(storing, case, table=table)
        model.save_pretrained(tmp_path / "adapter")
        nolakit.export_merged(
            tmp_path / "adapter", tmp_path / "merged", base=tmp_path / "base", overwrite=True
        )
        merged = type(base(case)).from_pretrained(tmp_path / "merged")
        expected = model.merge_and_unload().state_dict()
        found = merged.state_dict()
        assert sorted(found) == sorted(expected)
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, **TOLERANCE)


def test_check_numbers_are_one_a_module(name, tmp_path):
    adapted(name).save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "adapter_config.json").read_text())["frozen_check"]
    assert len(stored) == 6 and all(0.001 < abs(number) < 5 for number in stored)


def test_parts_are_made_again_where_the_measurement_changes_and_not_where_it_is_moved():
    model = adapted("nora aware")
    layer = next(computed_layers(model, "default"))[2]["lora_A"]
    before = layer.frozen_part()
    model.double()  # as with another device, all tensors are new
    assert layer.frozen_part() is before
    layer.measured.mul_(torch.arange(1, len(layer.measured) + 1))
    assert layer.frozen_part() is not before
