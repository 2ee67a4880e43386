"""What a base model looked like, small enough to store, to catch an adapter on another base.

    structure = first 16 hex digits of SHA-256 over the sorted lines "path in out"
    sketch    = 8 evenly spaced values of up to 4 adapted weights, rounded to 4 significant digits

The structure must be equal. The sketch is compared with a tolerance, because the same base may come in
bfloat16 or, in part, quantised; weights that cannot be read (quantised, sharded, on the meta device) are
left out on either side.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nolakit.errors import BaseMismatchError

SKETCHED_WEIGHTS = 4
SKETCHED_VALUES = 8
TOLERANCE = 0.3  # relative distance; rounding to 4 bits stays below 0.15, another model is near 1.4


def fingerprint(layers: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Fingerprint of the adapted layers of a base model.

    Args:
        layers: the base's own layers by canonical path.
    """
    lines = [f"{path} {_features(layer)}" for path, layer in sorted(layers.items())]
    structure = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    paths = [path for path in sorted(layers) if _readable(getattr(layers[path], "weight", None))]
    step = max(1, len(paths) // SKETCHED_WEIGHTS)
    chosen = paths[::step][:SKETCHED_WEIGHTS]
    return {
        "modules": len(layers),
        "structure": structure,
        "sketch": {path: " ".join(map(str, _sample(layers[path].weight))) for path in chosen},
    }


def check_fingerprint(expected: Mapping[str, Any], layers: Mapping[str, nn.Module]) -> None:
    """Compare a stored fingerprint with the base that an adapter is being attached to.

    Raises:
        BaseMismatchError: other modules, other shapes, or weights that are another model's.
    """
    found = fingerprint(layers)
    if expected["structure"] != found["structure"]:
        raise BaseMismatchError(
            f"found a base with {found['modules']} adapted modules of structure {found['structure']}; the adapter "
            f"was made for {expected['modules']} of structure {expected['structure']}: module names or shapes "
            "differ. Load the base it was trained on, or set base_fingerprint=None in its configuration to try anyway"
        )
    distance = sketch_distance(expected["sketch"], layers)
    if distance > TOLERANCE:
        raise BaseMismatchError(
            f"found a base of the right shape whose weights are {distance:.2f} away (relative) from those the "
            f"adapter was trained on; at most {TOLERANCE} is rounding. Load the base it was trained on, or set "
            "base_fingerprint=None in its configuration to try anyway"
        )


def sketch_distance(sketch: Mapping[str, str], layers: Mapping[str, nn.Module]) -> float:
    """Relative distance ||w - w'|| / ||w|| over the stored values that can be read here; 0.0 if none can."""
    difference = norm = 0.0
    for path, text in sketch.items():
        weight = getattr(layers.get(path), "weight", None)
        if _readable(weight):
            values, here = [float(number) for number in text.split()], _sample(weight)
            difference += sum((a - b) ** 2 for a, b in zip(values, here, strict=True))
            norm += sum(a**2 for a in values)
    return math.sqrt(difference / norm) if norm else 0.0


def _features(layer: nn.Module) -> str:
    for names in (("in_features", "out_features"), ("in_channels", "out_channels"), ("nx", "nf")):
        if all(hasattr(layer, name) for name in names):
            return " ".join(str(getattr(layer, name)) for name in names)
    return " ".join(map(str, getattr(layer, "weight").shape))


def _readable(weight: Any) -> bool:
    """A plain floating-point tensor with data: not quantised, not sharded, not on the meta device."""
    return (
        isinstance(weight, torch.Tensor)
        and type(weight) in (torch.Tensor, nn.Parameter)
        and weight.is_floating_point()
        and weight.device.type != "meta"
        and weight.numel() >= SKETCHED_VALUES
    )


def _sample(weight: torch.Tensor) -> list[float]:
    flat = weight.detach().reshape(-1)
    positions = torch.arange(SKETCHED_VALUES) * (flat.numel() // SKETCHED_VALUES)
    return [float(f"{value:.4g}") for value in flat[positions.to(flat.device)].tolist()]
