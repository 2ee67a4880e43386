"""What is measured is what passes through the layers, and nothing else is touched."""

import bitsandbytes as bnb
import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import nn

import nolakit
from nolakit import LoraSbConfig, LoraXsConfig, NoraConfig
from nolakit.errors import AdapterError, ConfigError, DataError, UnsupportedError
from nolakit.tuner.layers import computed_layers
from small_models import BY_NAME
from tuner.adapting import coefficients, logits, randomize, train

CASES = {name: BY_NAME[name] for name in ("llama", "gpt2", "vit", "t5")}  # Linear, Conv1D, Conv2d, two stacks
by_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def attached(case, config_class, model=None, **options):
    config = config_class(target_modules=list(case.targets), r=4, **case.options, **options)
    return get_peft_model(case.make() if model is None else model, config).eval()


def lora_sb(case, **options):
    return attached(case, LoraSbConfig, **options)


def nora(case, **options):
    return attached(case, NoraConfig, activation_aware=True, inner_rank=2, **options)


def matrix(layer, tensor):
    """A tensor of the shape of a base layer's weight, as (out, in)."""
    return tensor.T if type(layer).__name__ == "Conv1D" else tensor.flatten(1)


def expected_gradients(case, batches):
    """By autograd, of the base alone, summed over the batches."""
    base = case.make()
    for batch in batches:
        base(**batch).loss.backward()
    return {
        name: matrix(module, module.weight.grad)
        for name, module in base.named_modules()
        if name.split(".")[-1] in case.targets
    }


def expected_inputs(case, batches):
    """Mean absolute inputs, collected and averaged at once; of a convolution each channel for all of its kernel."""
    base, seen = case.make(), {}
    for name, module in base.named_modules():
        if name.split(".")[-1] in case.targets:
            module.register_forward_pre_hook(
                lambda module, args, name=name: seen.setdefault(name, []).append((module, args[0]))
            )
    for batch in batches:
        logits(base, batch)
    means = {}
    for name, calls in seen.items():
        module = calls[0][0]
        if isinstance(module, nn.Conv2d):
            channels = torch.cat([x.transpose(0, 1).flatten(1) for _, x in calls], dim=1).abs().mean(1)
            means[name] = channels[:, None, None].expand(module.weight.shape[1:]).flatten()
        else:
            means[name] = torch.cat([x.flatten(0, -2) for _, x in calls]).abs().mean(0)
    return means


def measured(monkeypatch, model, batches):
    """What `calibrate` gives the method, by path."""
    found = {}
    method_class = type(next(computed_layers(model, "default"))[2]["lora_A"].method)
    frozen = method_class.frozen

    def noting(self, site, weight, measured=None):
        found[site.path] = measured.clone()
        return frozen(self, site, weight, measured)

    with monkeypatch.context() as patch:
        patch.setattr(method_class, "frozen", noting)
        nolakit.calibrate(model, batches)
    keys = {factors["lora_A"].shape.path: name for name, _, factors in computed_layers(model, "default")}
    return {keys[path].removeprefix("base_model.model."): value for path, value in found.items()}


@by_case
def test_gradient_is_autograds_sum_over_batches(case, monkeypatch):
    batches = [case.batch(3), case.batch(2, seed=5)]
    found = measured(monkeypatch, lora_sb(case), batches)
    expected = expected_gradients(case, batches)
    assert sorted(found) == sorted(expected) and len(found) >= 4
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


@by_case
def test_activations_are_mean_absolute_inputs(case, monkeypatch):
    batches = [case.batch(3), case.batch(2, seed=5)]
    found = measured(monkeypatch, nora(case), batches)
    expected = expected_inputs(case, batches)
    assert sorted(found) == sorted(expected)
    for name, mean in expected.items():
        torch.testing.assert_close(found[name], mean, rtol=1e-5, atol=1e-7)


def test_strided_convolution_and_relu_in_place(monkeypatch):
    """The layer's output is changed in place behind it, and nothing before it requires a gradient."""

    def make():
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            return nn.Sequential(
                nn.Conv2d(3, 6, 3, stride=2, padding="valid"), nn.ReLU(inplace=True),
                nn.Conv2d(6, 4, (1, 2), dilation=(1, 2)), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8, 3),
            )  # fmt: skip

    images, labels = torch.randn(5, 3, 5, 8, generator=torch.Generator().manual_seed(1)), torch.arange(5) % 3
    model = get_peft_model(make(), LoraSbConfig(r=3, target_modules=["0", "2"]))
    loss = nn.functional.cross_entropy
    with pytest.raises(DataError, match="no loss in the model's output, a Tensor"):
        nolakit.calibrate(model, [images])
    found = {}
    frozen = nolakit.methods.method_class("lora_sb").frozen

    def noting(self, site, weight, measured=None):
        found[site.path] = measured
        return frozen(self, site, weight, measured)

    monkeypatch.setattr(nolakit.methods.method_class("lora_sb"), "frozen", noting)
    nolakit.calibrate(model, [images], loss=lambda output, batch: loss(output, labels))
    base = make()
    loss(base(images), labels).backward()
    for name in ("0", "2"):
        torch.testing.assert_close(found[name], base[int(name)].weight.grad.flatten(1), rtol=1e-4, atol=1e-6)


def test_input_changed_in_place_is_an_error():
    class Adds(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x):
            x = x * 1
            y = self.inner(x)
            x += y  # what the gradient of the weight needs is gone
            return x

    model = get_peft_model(Adds(), LoraSbConfig(r=2, target_modules=["inner"]))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        nolakit.calibrate(model, [torch.ones(3, 4)], loss=lambda output, batch: output.square().sum())


@by_case
def test_lora_sb_starts_at_the_best_approximation_of_the_first_step(case):
    batches = [case.batch()]
    model = lora_sb(case, first_step=1e-3)
    nolakit.calibrate(model, batches)
    gradients = expected_gradients(case, batches)
    for name, layer, factors in computed_layers(model, "default"):
        step = -1e-3 * gradients[name.removeprefix("base_model.model.")].sign()
        best = torch.linalg.svdvals(step.double())
        update = matrix(layer.get_base_layer(), layer.get_delta_weight("default"))
        error = (step - update).double().square().sum()
        assert error <= 1.02 * best[4:].square().sum()
        frozen = factors["lora_A"].frozen, factors["lora_B"].frozen.T
        for rows in frozen:
            torch.testing.assert_close(rows @ rows.T, torch.eye(4), rtol=0, atol=1e-5)
    before = case.make()(**batches[0]).loss
    assert model(**batches[0]).loss < before


def test_full_rank_outer_factors_give_the_weight_back():
    """B A = W for the activation-aware SVD too, since what scales the weight is taken out again."""
    case = BY_NAME["llama"]
    base = case.make()
    config = NoraConfig(r=16, inner_rank=2, activation_aware=True, target_modules=["v_proj"])  # 16 x 32
    model = get_peft_model(base, config)
    nolakit.calibrate(model, [case.batch()])
    for _, layer, factors in computed_layers(model, "default"):
        product = factors["lora_B"].frozen_part() @ factors["lora_A"].frozen_part()
        torch.testing.assert_close(product, layer.get_base_layer().weight, rtol=0, atol=1e-5)


def test_activations_choose_the_directions():
    """An input that is a hundred times the others leads the first right singular vector; without, it does not."""
    torch_weight = torch.randn(8, 12, generator=torch.Generator().manual_seed(0))
    method = nolakit.methods.method_class("nora")(activation_aware=True, exponent=1.0)
    site = nolakit.methods.site.Site("a.b", (3, 12), (8, 3))
    sizes = torch.ones(12)
    plain = method.frozen(site, torch_weight)
    flat = method.frozen(site, torch_weight, 7 * sizes)
    torch.testing.assert_close(flat, plain, rtol=0, atol=1e-5)
    sizes[5] = 100.0
    scaled = method.frozen(site, torch_weight, sizes)
    first = scaled["lora_B"][:, 0] / scaled["lora_B"][:, 0].norm()
    column = torch_weight[:, 5] / torch_weight[:, 5].norm()
    assert abs(first @ column) > 0.99 > abs(plain["lora_B"][:, 0] @ column) / plain["lora_B"][:, 0].norm()
    dead = method.frozen(site, torch_weight, torch.zeros(12))  # nothing came in: all alike
    torch.testing.assert_close(dead, plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [lora_sb, nora])
def test_nothing_else_changes(make):
    case = BY_NAME["llama"]
    model = make(case)
    model.add_adapter("other", make(case).peft_config["default"])
    nolakit.calibrate(model, [case.batch(2)], adapter_name="other")
    randomize(model, "other")
    model.set_adapter("other")
    model.train()
    model.base_model.model.model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    wanted = {name: value.requires_grad for name, value in model.named_parameters()}
    values = {name: value.clone() for name, value in model.state_dict().items() if ".default." not in name}
    generator = torch.get_rng_state()
    nolakit.calibrate(model, [case.batch()])
    assert torch.equal(torch.get_rng_state(), generator)
    assert [module.training for module in model.modules()] == modes
    assert {name: value.requires_grad for name, value in model.named_parameters()} == wanted
    assert all(value.grad is None for value in model.parameters())
    assert model.active_adapters == ["other"]
    assert all(torch.equal(model.state_dict()[name], value) for name, value in values.items())
    assert not any(module._forward_hooks for module in model.modules())
    output = logits(model.eval(), case.batch())
    model.disable_adapter_layers()
    assert not torch.equal(output, logits(model, case.batch()))


@pytest.mark.parametrize("make", [lora_sb, nora])
@pytest.mark.parametrize("store_frozen", [False, True])
def test_calibrated_adapter_trains_and_loads(make, store_frozen, tmp_path):
    case = BY_NAME["gpt2"]
    model, batch = (
        make(case, **({"store_frozen": True} if store_frozen and make is nora else {})),
        case.batch(),
    )
    nolakit.calibrate(model, [batch])
    losses = train(model, batch, lr=0.03)
    assert losses[-1] < losses[0] - 0.05
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(case.make(), tmp_path).eval()
    assert torch.equal(logits(loaded, batch), logits(model, batch))
    with pytest.raises(DataError, match="no batches"):  # it may be measured anew
        nolakit.calibrate(loaded, [])


@pytest.mark.parametrize("make", [lora_sb, nora])
def test_without_calibration_nothing_runs_or_is_saved(make, tmp_path):
    case = BY_NAME["llama"]
    model = make(case)
    for use in (
        lambda: logits(model, case.batch()),
        lambda: model.merge_adapter(),
        lambda: model.save_pretrained(tmp_path),
    ):
        with pytest.raises(AdapterError, match=r"nolakit\.calibrate"):
            use()


def test_methods_that_measure_nothing_look_at_no_data():
    case = BY_NAME["llama"]
    for config, options in ((LoraXsConfig, {}), (NoraConfig, {"inner_rank": 2})):
        nolakit.calibrate(attached(case, config, **options), (pytest.fail("looked") for _ in [0]))


def test_what_cannot_be_measured_is_refused():
    case = BY_NAME["llama"]
    model, batch = lora_sb(case), case.batch()
    unlabelled = {name: value for name, value in batch.items() if name != "labels"}
    for batches, message in [
        ([], "no batches"),
        ([unlabelled], "no loss in the model's output, a CausalLMOutputWithPast"),
        ([{**batch, "labels": torch.full_like(batch["labels"], -100)}], "a loss of nan"),
    ]:
        with pytest.raises(DataError, match=message):
            nolakit.calibrate(model, batches)
        assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(ConfigError, match="'other'"):
        nolakit.calibrate(model, [batch], adapter_name="other")
    model.add_adapter("other", lora_sb(case).peft_config["default"])
    nolakit.calibrate(model, [batch], adapter_name="other")
    model.base_model.merge_adapter(["other"])
    with pytest.raises(UnsupportedError, match="unmerge_adapter"):
        nolakit.calibrate(model, [batch])


def test_layer_that_no_batch_reaches_is_named():
    model = get_peft_model(
        nn.ModuleDict({"used": nn.Linear(4, 4), "idle": nn.Linear(4, 4)}),
        NoraConfig(r=2, inner_rank=1, activation_aware=True, target_modules=["used", "idle"]),
    )
    model.forward = lambda x: model.base_model.model["used"](x)
    with pytest.raises(DataError, match=r"no use of the layer .*idle.* in 1 batches"):
        nolakit.calibrate(model, [torch.ones(2, 4)])


def test_saved_check_is_of_the_measurement_that_is_saved(tmp_path):
    """As when a run is resumed: other data were measured, then a checkpoint is loaded into the adapter."""
    case = BY_NAME["llama"]
    first, second = nora(case), nora(case)
    nolakit.calibrate(first, [case.batch()])
    randomize(first)
    first.save_pretrained(tmp_path / "first")
    nolakit.calibrate(second, [{**case.batch(), "input_ids": torch.full((4, 9), 7)}])
    second.save_pretrained(tmp_path / "second")
    second.load_adapter(tmp_path / "first", "default")
    assert torch.equal(logits(second, case.batch()), logits(first, case.batch()))
    second.save_pretrained(tmp_path / "again")
    checks = [
        PeftModel.from_pretrained(case.make(), tmp_path / name).peft_config["default"].frozen_check
        for name in ("first", "second", "again")
    ]
    assert checks[0] == checks[2] != checks[1]


def test_gradient_of_a_quantised_base_is_near_the_floats(monkeypatch):
    """No weight of it could require a gradient."""
    case = BY_NAME["llama"]
    base = case.make()
    for name, module in list(base.named_modules()):
        if isinstance(module, nn.Linear) and name != "lm_head":
            new = bnb.nn.Linear8bitLt(
                module.in_features, module.out_features, bias=False, has_fp16_weights=False
            )
            new.load_state_dict(module.state_dict())
            base.set_submodule(name, new)
    base.is_loaded_in_8bit = True
    found = measured(monkeypatch, lora_sb(case, model=base.to("cpu")), [case.batch()])
    for name, gradient in expected_gradients(case, [case.batch()]).items():
        assert (found[name] - gradient).norm() < 0.1 * gradient.norm()


def test_over_a_basis_the_given_start_is_left_out():
    case = BY_NAME["llama"]
    model = lora_sb(case, coefficient_basis=5)
    nolakit.calibrate(model, [case.batch()])
    assert all(value.shape == (5,) and not value.any() for value in coefficients(model).values())
    assert torch.equal(logits(model, case.batch()), logits(case.make(), case.batch()))
