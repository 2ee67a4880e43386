"""What a check asserts, with messages that say what was found and what was expected."""

from __future__ import annotations

from collections.abc import Mapping

import torch

TOLERANCE = 1e-4  # relative, of sums of float32 that are taken in another order

Compared = torch.Tensor | Mapping[str, torch.Tensor]


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    """||found - expected|| / ||expected||; 0 where both are zero."""
    gap = torch.linalg.vector_norm((found - expected).double())
    return 0.0 if gap == 0 else float(gap / torch.linalg.vector_norm(expected.double()))


def assert_close(found: Compared, expected: Compared, what: str, tolerance: float = TOLERANCE) -> None:
    """The same up to rounding, tensor by tensor."""
    for name, one, other in _pairs(found, expected, what):
        gap = distance(one, other)
        assert gap <= tolerance, (
            f"{what}{name}: found a relative difference of {gap:.2g}; expected {tolerance:g}"
        )


def assert_equal(found: Compared, expected: Compared, what: str) -> None:
    """The same to the bit."""
    for name, one, other in _pairs(found, expected, what):
        same = one.dtype == other.dtype and torch.equal(one, other)
        assert same, (
            f"{what}{name}: found other bits ({one.dtype}, {other.dtype}, {distance(one, other):.2g} apart)"
        )


def assert_differ(found: torch.Tensor, other: torch.Tensor, what: str) -> None:
    """Far more apart than any rounding."""
    gap = distance(found, other)
    assert gap > 100 * TOLERANCE, f"{what}: found no difference ({gap:.2g}); expected one"


def joined(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """All numbers in the order of their names. # shape: (numbers,)"""
    return torch.cat([tensors[name].detach().flatten() for name in sorted(tensors)])


def _pairs(found: Compared, expected: Compared, what: str) -> list[tuple[str, torch.Tensor, torch.Tensor]]:
    if isinstance(found, torch.Tensor) or isinstance(expected, torch.Tensor):
        assert isinstance(found, torch.Tensor) and isinstance(expected, torch.Tensor)
        found, expected = {"": found}, {"": expected}
    assert sorted(found) == sorted(expected), f"{what}: found {sorted(found)}; expected {sorted(expected)}"
    pairs = [(name, found[name].detach(), expected[name].detach()) for name in found]
    for name, one, other in pairs:
        assert one.shape == other.shape, (
            f"{what} {name}: found {tuple(one.shape)}; expected {tuple(other.shape)}"
        )
        assert one.isfinite().all(), f"{what} {name}: found numbers that are not finite"
    return [(f" {name}" if name else "", one, other) for name, one, other in pairs]
