"""A base of 8 or 4 bits is adapted as its dequantised weights would be."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from peft import PeftModel
from torch import nn

from nolakit.testing.adapting import attach, coefficients, config_for, layers, logits, moved, train, updates
from nolakit.testing.bases import WIDE
from nolakit.testing.comparing import assert_close, assert_equal
from nolakit.testing.row import Row
from nolakit.tuner.frozen_parts import float_weight

NOISE = {8: 0.05, 4: 0.01}  # of a product, relative: 8 bits round what is multiplied too
MEASURED_NOISE = (
    0.2  # of updates from what was measured on a base that a use has rounded once more: signs may turn
)


def works_over_8_bits(row: Row) -> None:
    """Over bitsandbytes' 8-bit layers: a layer's output is the dequantised weight's plus the update's; training lowers
    the loss; a saved adapter comes back; a base that was used before is adapted as a fresh one."""
    _works(row, 8)


def works_over_4_bits(row: Row) -> None:
    """Over bitsandbytes' 4-bit layers, the same."""
    _works(row, 4)


def _works(row: Row, bits: int) -> None:
    batch = WIDE.batch()
    model = moved(row, model=_base(bits), batch=batch)
    generator = torch.Generator().manual_seed(2)
    for name, layer in layers(model).items():
        x = torch.randn(5, layer.in_features, generator=generator)
        with torch.no_grad():
            weight = float_weight(layer.base_layer).to(x)
            found, plain, update = layer(x), layer.base_layer(x), layer.get_delta_weight("default")
        assert_close(found - plain, x @ update.T, f"update of {name} over {bits} bits")
        assert_close(
            plain, x @ weight.T + layer.base_layer.bias, f"base of {name} of {bits} bits", NOISE[bits]
        )
    used = _base(bits)
    logits(used, batch)
    later = updates(moved(row, model=used, batch=batch))
    if config_for(row).method().calibration != "gradient":  # whose signs turn with the rounding of a use
        assert_close(later, updates(model), f"updates over {bits} bits that were used before", NOISE[bits])
    assert logits(used, batch).isfinite().all()
    with tempfile.TemporaryDirectory() as place:
        model.save_pretrained(place)
        again = PeftModel.from_pretrained(_base(bits), place)
        assert_equal(dict(coefficients(again)), dict(coefficients(model)), f"numbers saved over {bits} bits")
        assert_close(updates(again), updates(model), f"updates after loading over {bits} bits", NOISE[bits])
    losses = train(attach(row, model=_base(bits), batch=batch).train(), batch)
    assert losses[-1] < losses[0], f"over {bits} bits: found losses {losses}; expected a fall"


def _base(bits: int) -> Any:
    from bitsandbytes.nn import Linear4bit, Linear8bitLt  # pyright: ignore[reportPrivateImportUsage] - as documented

    model = WIDE.make()
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and name != "head":
            sizes: Any = module.in_features, module.out_features
            made: nn.Module
            if bits == 8:
                made = Linear8bitLt(*sizes, has_fp16_weights=False)
            else:
                made = Linear4bit(*sizes, compute_dtype=torch.float32, quant_type="nf4")
            made.load_state_dict(module.state_dict())
            model.set_submodule(name, made)
    setattr(model, f"is_loaded_in_{bits}bit", True)  # where PEFT looks
    return model.to("cpu").eval()  # the first quantises
