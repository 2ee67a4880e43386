"""Lower precision and recomputation: the basis stays, the sums stay in float32, the gradients agree."""

import pytest
import torch
from peft import PeftModel, get_peft_model

from nolakit import basis
from small_models import BY_NAME, CASES
from tuner.adapting import adapted, assert_close, assert_differ, coefficients, config_for, gradients, logits

LLAMA = BY_NAME["llama"]
CHECKPOINTED = [case for case in CASES if case.name not in ("plain", "vit")]
LOW = {"rtol": 0.1, "atol": 0.02}  # of 8 bits, through a few layers


def gradient_of(model, batch, **autocast):
    model.train()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bool(autocast)):
        loss = model(**batch).loss
    loss.backward()
    return gradients(model)


@pytest.mark.parametrize("case", CHECKPOINTED, ids=lambda case: case.name)
@pytest.mark.parametrize("use_reentrant", [True, False])
def test_gradient_checkpointing_gives_the_same_gradients(case, use_reentrant):
    expected = gradient_of(adapted(case), case.batch())
    base = case.make()
    calls = []
    model = get_peft_model(base, config_for(case))
    with torch.no_grad():
        for (_, ours), (_, theirs) in zip(
            coefficients(model).items(), coefficients(adapted(case)).items(), strict=True
        ):
            ours.copy_(theirs)
    model.enable_input_require_grads()
    model.activation_checkpointing_enable({"use_reentrant": use_reentrant})
    layer = next(m for n, m in model.named_modules() if n.endswith("lora_A.default"))
    layer.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    found = gradient_of(model, case.batch())
    assert len(calls) == 2  # once more in the backward pass
    assert found.keys() == expected.keys()
    assert_close(found, expected)
    assert any(gradient.any() for gradient in found.values())


def cosine(found, expected):
    a, b = (torch.cat([g.float().flatten() for g in grads.values()]) for grads in (found, expected))
    return torch.nn.functional.cosine_similarity(a, b, dim=0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bfloat16_base_under_autocast(case):
    expected = gradient_of(adapted(case), case.batch())
    model = get_peft_model(case.make().to(torch.bfloat16), config_for(case))
    source = coefficients(adapted(case))
    for name, values in coefficients(model).items():
        assert values.dtype == torch.float32  # PEFT's autocast_adapter_dtype
        values.copy_(source[name])
    batch = {k: v.bfloat16() if v.is_floating_point() else v for k, v in case.batch().items()}
    found = gradient_of(model, batch, enabled=True)
    for name, gradient in found.items():
        assert gradient.dtype == torch.float32 and gradient.isfinite().all(), name
    assert cosine(found, expected) > 0.99


@pytest.mark.parametrize("autocast", [False, True])
def test_factors_are_summed_in_float32_whatever_the_autocast_state(autocast):
    """Bit for bit: autocast must not reach the combination."""
    model = adapted(LLAMA)
    factor = model.base_model.model.model.layers[0].self_attn.q_proj.lora_B["default"]
    expected = basis.combine(
        factor.coefficients, seed=7, stream=basis.stream_number("lora_B"), size=factor.shape.size
    )
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        weight = factor.weight
    assert weight.dtype == torch.float32 and torch.equal(weight.flatten(), expected)


def test_bfloat16_coefficients_are_combined_in_float32():
    model = adapted(LLAMA).to(torch.bfloat16)
    factor = model.base_model.model.model.layers[0].self_attn.q_proj.lora_B["default"]
    wide = basis.combine(
        factor.coefficients.float(), seed=7, stream=basis.stream_number("lora_B"), size=factor.shape.size
    )
    assert factor.weight.dtype == torch.bfloat16
    assert torch.equal(factor.weight.flatten(), wide.bfloat16())
    assert_differ(wide.bfloat16().float(), wide)


def test_basis_is_that_of_float32_in_every_dtype():
    """One-hot coefficients show the basis itself. Its 256 steps are exact in 16 bits."""
    model = adapted(LLAMA, num_basis=4)  # 1 / sqrt(4) is a power of two
    factor = model.base_model.model.model.layers[0].self_attn.q_proj.lora_B["default"]
    for index in range(4):
        seen = {}
        for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.float32):
            model.to(dtype)
            with torch.no_grad():
                factor.coefficients.zero_()[index] = 1
            seen[dtype] = factor.weight.double() * 2
        for weight in seen.values():
            assert torch.equal(weight, seen[torch.float32])
        steps = seen[torch.float32] * 256
        assert torch.equal(steps, steps.round()) and steps.abs().max() <= 255 and (steps % 2 == 1).all()


def test_adapter_of_float32_over_a_bfloat16_base(tmp_path):
    model, batch = adapted(LLAMA), LLAMA.batch()
    model.save_pretrained(tmp_path)
    base = LLAMA.make().to(torch.bfloat16)
    loaded = PeftModel.from_pretrained(base, tmp_path).eval()
    for name, values in coefficients(loaded).items():
        assert torch.equal(values, coefficients(model)[name])
    torch.testing.assert_close(logits(loaded, batch).float(), logits(model, batch), **LOW)
    assert_differ(logits(loaded, batch).float(), logits(LLAMA.make(), batch))


def test_offset_of_float32_is_not_that_of_bfloat16_seen_before():
    """A0 is not exact in 16 bits: whatever keeps it must not keep it rounded."""
    model = get_peft_model(LLAMA.make(), config_for(LLAMA, seed=99)).to(torch.bfloat16)
    factor = model.base_model.model.model.layers[0].self_attn.q_proj.lora_A["default"]
    low = factor.weight
    high = model.to(torch.float32).get_submodule("base_model.model.model.layers.0.self_attn.q_proj")
    weight = high.lora_A["default"].weight
    stream = basis.stream_number("lora_A0", "layers.0.self_attn.q_proj")
    expected = basis.vector(4 * 32, seed=99, stream=stream, bound=32**-0.5).view(4, 32)
    assert torch.equal(weight, expected) and torch.equal(low, expected.bfloat16())
    assert not torch.equal(low.float(), weight)
