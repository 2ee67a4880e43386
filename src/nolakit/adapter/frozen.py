"""Frozen parts that the base's weights give: computed again at every load, and checked to be the same.

    check = < F, g > / (||F|| std(g))     one number a module, F all its frozen parts, g of the portable basis

The check of two unrelated parts differs by about 1.4, of parts that are a share x apart by about x.

Singular vectors are the same on another machine up to rounding, unless the weight is another (quantised, rounded to
bfloat16, of another model) or singular values are equal. Then the numbers were trained for other directions, and the
update would be wrong without a sign; the check says so. `store_frozen=True` stores the parts instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nolakit import basis
from nolakit.errors import AdapterError, BaseMismatchError, BaseNeededError
from nolakit.methods.base import ENTRY_STD, Method
from nolakit.methods.site import ROLES, Role, Site

if TYPE_CHECKING:
    import torch

TOLERANCE = 0.05
DIGITS = 4

Parts = Mapping[Role, "torch.Tensor"]
WeightAt = Callable[[str], "torch.Tensor | None"]  # canonical path -> the weight as an (out, in) matrix


def parts_of(
    method: Method, site: Site, weight: torch.Tensor | None, measured: torch.Tensor | None = None
) -> dict[Role, torch.Tensor]:
    """The frozen parts of one module from the base's weight.

    Args:
        weight: None where there is none. # shape: (out, in)
        measured: what calibration measured there.

    Raises:
        BaseNeededError: no weight, or one of another shape.
    """
    if weight is None or tuple(weight.shape) != (site.outputs, site.inputs):
        found = "no weight" if weight is None else f"a weight of shape {tuple(weight.shape)}"
        raise BaseNeededError(
            f"found {found} at {site.path!r}; {method.name!r} adapters are computed from the weights of their base, "
            f"here {site.outputs} x {site.inputs}. Give the base that the adapter was trained on"
        )
    return method.frozen(site, weight.detach().float(), measured)


def check_number(site: Site, parts: Parts) -> float:
    """The module's number of the equation above."""
    product = norm = 0.0
    for role in ROLES:
        if role in parts:
            flat = parts[role].reshape(-1).double()
            stream = basis.stream_number("check_" + role, site.path)
            other = basis.vector(flat.numel(), seed=0, stream=stream, device=flat.device).double()
            product += float(flat @ other)
            norm += float(flat @ flat)
    return round(product / (math.sqrt(norm) * ENTRY_STD), DIGITS) if norm else 0.0


def expected_numbers(stored: Any, paths: Sequence[str]) -> dict[str, float]:
    """Stored check numbers by canonical path, {} where nothing is to be checked.

    Args:
        stored: `frozen_check` of a configuration.
        paths: of all modules, sorted.

    Raises:
        AdapterError: what is stored is no such list.
    """
    if stored is None:
        return {}
    usable = isinstance(stored, list) and all(type(one) in (int, float) and abs(one) < 1e9 for one in stored)
    if not usable or len(stored) != len(paths):
        raise AdapterError(
            f"found frozen_check {repr(stored)[:80]}; expected {len(paths)} numbers. Fetch the adapter again"
        )
    return dict(zip(paths, stored, strict=True))


def check_site(expected: float | None, found: float, site: Site) -> None:
    """Compare a module's stored check number with that of the parts that were computed here.

    Raises:
        BaseMismatchError: other parts.
    """
    if expected is not None and not abs(expected - found) <= TOLERANCE:
        raise BaseMismatchError(
            f"found a base whose weight at {site.path!r} gives other frozen parts (check {found}, stored {expected}): "
            "it is another base, or the same one quantised or rounded, or singular values are equal and this machine's "
            "LAPACK took other vectors for them. Take the base as it was in training, or train with "
            "store_frozen=True, which stores the parts; frozen_check=None in the configuration tries it anyway"
        )
