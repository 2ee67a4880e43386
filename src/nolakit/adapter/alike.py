"""Adapters of one linear method whose numbers mean the same, so that they add up."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from nolakit.adapter.contents import Adapter, ModuleInfo
from nolakit.adapter.fingerprint import check_same_base
from nolakit.adapter.frozen import TOLERANCE, expected_numbers
from nolakit.errors import AdapterError, BaseMismatchError, UnsupportedError
from nolakit.methods.base import Method

SCALING = ("r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern")

Modules = Mapping[str, ModuleInfo]  # by canonical path


def linear_method(source: Adapter) -> Method:
    """The method of an adapter. Raises UnsupportedError where its update is not linear in its numbers."""
    source.check_computed()
    check_linear(method := source.layout.method, source.name)
    return method


def check_linear(method: Method, name: str) -> None:
    """Raises UnsupportedError for a method whose updates do not add up in its numbers."""
    if method.degree != "linear":
        degree = "quadratic" if method.degree == "quadratic" else "not linear"
        remedy = (
            "Merge them into the base one after the other (nolakit.export_merged)"
            if method.dense
            else "Combine them as LoRA: PEFT's add_weighted_adapter with combination_type='cat', or of what "
            "nolakit.export_lora writes"
        )
        raise UnsupportedError(
            f"found a {method.name!r} adapter in {name!r}, whose update is {degree} in its numbers: the sum of two "
            f"updates is no update of the method. {remedy}"
        )


def check_alike(method: Method, first: Adapter, expected: Modules, other: Adapter, found: Modules) -> None:
    """Check that the numbers of `other` mean what those of `first` do.

    Args:
        method: of both.
        expected, found: the modules of `first` and of `other`.

    Raises:
        AdapterError: another method, configuration or seed, or other modules.
        BaseMismatchError: another base.
    """
    differing = [
        name for name in SCALING if (other.config.get(name) or None) != (first.config.get(name) or None)
    ]
    if other.method != first.method or other.layout.method != method:
        differing = ["its method or one of its options"]
    if differing:
        raise AdapterError(
            f"found {other.name!r} with another {', '.join(differing)} than {first.name!r}; adapters add up that were "
            f"made with one configuration and one seed: {method} there"
        )
    for path in expected.keys() | found.keys():
        if path not in expected or path not in found or expected[path].dims != found[path].dims:
            raise AdapterError(
                f"found {other.name!r} and {first.name!r} with different shapes or numbers of modules, at {path!r}; "
                "expected adapters of the same modules"
            )
    check_same_base(first.config.get("base_fingerprint"), other.config.get("base_fingerprint"))
    numbers, others = (
        expected_numbers(source.config.get("frozen_check"), sorted(expected)) for source in (first, other)
    )
    for path in numbers.keys() & others.keys():
        if not abs(numbers[path] - others[path]) <= TOLERANCE:
            raise BaseMismatchError(
                f"found {other.name!r} and {first.name!r} with different frozen parts at {path!r} (check "
                f"{others[path]} and {numbers[path]}): they were trained on different weights, and their numbers mean "
                "different updates"
            )


def same_values(part: torch.Tensor, other: torch.Tensor | None) -> bool:
    """Whether two stored frozen parts are one, up to what two machines round differently."""
    return (
        other is not None
        and other.shape == part.shape
        and bool((other - part).double().norm() <= TOLERANCE * part.double().norm())
    )
