"""What a base model looked like, small enough to store, to catch an adapter on another base.

    structure = first 16 hex digits of SHA-256 over the sorted lines "path lora_A-dims lora_B-dims"
    sketch    = 8 evenly spaced values of up to 4 adapted weights, rounded to 4 significant digits

The structure must be equal. The sketch is compared with a tolerance, because the same base may come in
bfloat16 or, in part, quantised; weights that cannot be read (quantised, sharded, on the meta device) are
left out on either side.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from nolakit.errors import AdapterError, BaseMismatchError

SKETCHED_WEIGHTS = 4
SKETCHED_VALUES = 8
TOLERANCE = 0.3  # relative distance; rounding to 4 bits stays below 0.15, another model is near 1.4
REMEDY = "Load the base it was trained on, or set base_fingerprint=None in its configuration to try anyway"

Dims = Mapping[str, Mapping[str, tuple[int, ...]]]  # path -> role -> dims


def structure_of(dims: Dims) -> str:
    """Hash of the adapted modules' paths and factor shapes."""
    lines = [
        f"{path} {_dims(roles['lora_A'])} {_dims(roles['lora_B'])}" for path, roles in sorted(dims.items())
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def fingerprint(dims: Dims, layers: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Fingerprint of a base model under an adapter.

    Args:
        dims: shapes of the adapter's factors, by canonical path and role.
        layers: the base's own layers, by canonical path.
    """
    weights = {
        path: weight for path in sorted(layers) if (weight := _readable(weight_of(layers[path]))) is not None
    }
    step = max(1, len(weights) // SKETCHED_WEIGHTS)
    chosen = list(weights)[::step][:SKETCHED_WEIGHTS]
    return {
        "modules": len(dims),
        "structure": structure_of(dims),
        "sketch": {path: " ".join(map(str, _sample(weights[path]))) for path in chosen},
    }


def check_fingerprint(
    expected: Mapping[str, Any], dims: Dims, weight_at: Callable[[str], torch.Tensor | None]
) -> None:
    """Compare a stored fingerprint with the base that an adapter is being attached to.

    Args:
        expected: what `fingerprint` made.
        dims: shapes of the adapter's factors, by canonical path and role.
        weight_at: the base's weight at a canonical path; None where there is none.

    Raises:
        BaseMismatchError: other modules, other shapes, or weights that are another model's.
        AdapterError: values that no base has.
    """
    found = structure_of(dims)
    said = expected.get("structure") if isinstance(expected, Mapping) else None
    if said != found:
        raise BaseMismatchError(
            f"found a base with {len(dims)} adapted modules of structure {found}; the adapter was made for one of "
            f"structure {repr(said)[:80]}: module names, shapes or ranks differ. " + REMEDY
        )
    distance = sketch_distance(_checked_sketch(expected.get("sketch")), weight_at)
    if not distance <= TOLERANCE:
        raise BaseMismatchError(
            f"found a base of the right shape whose weights are {distance:.2f} away (relative) from those the "
            f"adapter was trained on; at most {TOLERANCE} is rounding. {REMEDY}"
        )


def check_same_base(one: Any, other: Any) -> None:
    """Compare the fingerprints of two adapters; None checks nothing.

    Raises:
        BaseMismatchError: they were made for two bases.
        AdapterError: values that no base has.
    """
    if one is None or other is None:
        return
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        raise AdapterError(
            f"found the fingerprint {repr(one)[:80]} and {repr(other)[:80]}; expected objects, or null"
        )
    sketch, found = _checked_sketch(one.get("sketch")), _checked_sketch(other.get("sketch"))
    pairs = [
        (float(a), float(b))
        for path in sketch.keys() & found.keys()
        for a, b in zip(sketch[path].split(), found[path].split(), strict=True)
    ]
    distance, norm = (
        math.dist(*zip(*pairs, strict=True)) if pairs else 0.0,
        math.hypot(*(a for a, _ in pairs)),
    )
    structures = one.get("structure"), other.get("structure")
    if structures[0] != structures[1] or not distance <= TOLERANCE * norm:
        raise BaseMismatchError(
            f"found adapters of two bases, of structure {' and '.join(repr(found)[:80] for found in structures)}, "
            f"whose stored weights are {distance:.3g} apart at a size of {norm:.3g}; expected adapters of one base"
        )


def sketch_distance(sketch: Mapping[str, str], weight_at: Callable[[str], torch.Tensor | None]) -> float:
    """Relative distance ||w - w'|| / ||w|| over the stored values that can be read here; 0.0 if none can."""
    difference = norm = 0.0
    for path, text in sketch.items():
        weight = _readable(weight_at(path))
        if weight is not None:
            values, here = [float(number) for number in text.split()], _sample(weight)
            difference += sum((a - b) ** 2 for a, b in zip(values, here, strict=True))
            norm += sum(a**2 for a in values)
    return math.sqrt(difference / norm) if norm else 0.0


def _checked_sketch(sketch: Any) -> Mapping[str, str]:
    """Raises AdapterError where the stored values are not such."""
    if not isinstance(sketch, Mapping) or not all(map(_is_sample, sketch.values())):
        raise AdapterError(
            f"found the sketch {repr(sketch)[:80]} in base_fingerprint; expected {SKETCHED_VALUES} finite numbers a "
            "weight. Fetch the adapter again, or set base_fingerprint=None in its configuration to try it anyway"
        )
    return sketch


def _is_sample(text: Any) -> bool:
    try:
        values = [float(number) for number in text.split()]
    except (AttributeError, ValueError):
        return False
    return len(values) == SKETCHED_VALUES and all(map(math.isfinite, values))


def _dims(dims: tuple[int, ...]) -> str:
    return "x".join(map(str, dims))


def weight_of(layer: nn.Module | None) -> torch.Tensor | None:
    """The layer's weight, of whatever kind."""
    return getattr(layer, "weight", None)


def _readable(weight: torch.Tensor | None) -> torch.Tensor | None:
    """The weight if it is a plain floating-point tensor with data: not quantised, not sharded, not on the meta
    device."""
    readable = (
        isinstance(weight, torch.Tensor)
        and type(weight) in (torch.Tensor, nn.Parameter)
        and weight.is_floating_point()
        and weight.device.type != "meta"
        and weight.numel() >= SKETCHED_VALUES
    )
    return weight if readable else None


def _sample(weight: torch.Tensor) -> list[float]:
    flat = weight.detach().reshape(-1)
    positions = torch.arange(SKETCHED_VALUES) * (flat.numel() // SKETCHED_VALUES)
    return [float(f"{value:.4g}") for value in flat[positions.to(flat.device)].tolist()]
