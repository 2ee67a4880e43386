"""Several adapters in one model: of this method in one batch, of this one and another on the same layers."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from peft import get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
from torch import nn

from nolakit.testing.adapting import (
    Tensors,
    calibrated,
    config_for,
    layers,
    logits,
    move,
    moved,
    train,
    updates,
)
from nolakit.testing.bases import BASES
from nolakit.testing.comparing import assert_close, assert_differ, assert_equal, joined
from nolakit.testing.row import Row
from nolakit.tuner.config import ComputedLoraConfig, config_class

OTHER_METHOD = "nola"


def mixes_in_a_batch(row: Row) -> None:
    """Each row of a batch takes the adapter that `adapter_names` says, or none."""
    for base in row.bases:
        model, batch = moved(row, base), BASES[base].batch()
        model.add_adapter("other", config_for(row, base))
        calibrated(model, batch, "other")
        move(model, seed=6, adapter="other")
        outputs = {"__base__": logits(BASES[base].make(), batch)}
        for name in ("default", "other"):
            model.set_adapter(name)
            outputs[name] = logits(model.eval(), batch)
        assert_differ(outputs["other"], outputs["default"], f"outputs of two adapters on {base}")
        names = ["default", "other", "__base__", "other", "default", "__base__"]
        found = logits(model, batch, adapter_names=names)
        expected = torch.stack([outputs[name][row] for row, name in enumerate(names)])
        assert_close(found, expected, f"mixed batch on {base}")


def mixes_with_another_method(row: Row) -> None:
    """`inject_adapter_in_model`, and so transformers' `add_adapter`, puts adapters of two methods on the same layers,
    in either order: their updates add, both train, and each is saved by itself. `PeftModel.add_adapter` and
    `PeftMixedModel` of PEFT 0.21 take no second method."""
    batch = BASES["linear"].batch()
    own = updates(moved(row))
    for order in (("row", "other"), ("other", "row")):
        model: nn.Module = BASES["linear"].make()
        for adapter in order:
            model = _injected(model, _config(row, adapter), adapter)
        what = " after ".join(reversed(order))
        move(model, adapter="row")
        move(model, adapter="other", seed=6)
        assert_equal(updates(model, "row"), {name: own[name] for name in own}, f"updates, {what}")
        for name, layer in layers(model, "row").items():
            layer.set_adapter(["row", "other"])
            x = torch.randn(5, layer.in_features, generator=torch.Generator().manual_seed(2))
            with torch.no_grad():
                both = layer.get_delta_weight("row") + layer.get_delta_weight("other")
                assert_close(layer(x) - layer.base_layer(x), x @ both.T, f"two updates on {name}, {what}")
        before = _state(model)
        losses = train(model, batch)
        assert losses[-1] < losses[0], f"{what}: found losses {losses}; expected a fall"
        after = _state(model)
        assert_differ(joined(after), joined(before), f"trained numbers, {what}")
        fresh = _injected(BASES["linear"].make(), _config(row, "row"), "row")
        set_peft_model_state_dict(fresh, after, adapter_name="row")
        assert_equal(updates(fresh, "row"), updates(model, "row"), f"updates saved by themselves, {what}")


def _state(model: nn.Module) -> Tensors:
    """The row's adapter alone."""
    found = get_peft_model_state_dict(model, adapter_name="row")
    return {name: value.clone() for name, value in found.items()}


def _config(row: Row, adapter: str) -> ComputedLoraConfig:
    if adapter == "row":
        return config_for(row)
    return config_class(OTHER_METHOD)(r=2, num_basis=7, seed=11, target_modules=list(row.targets))  # pyright: ignore[reportCallIssue]


def _injected(model: nn.Module, config: ComputedLoraConfig, adapter: str) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config` attribute")
        made = inject_adapter_in_model(config, model, adapter)
    calibrated(made, BASES["linear"].batch(), adapter)
    return made.eval()
