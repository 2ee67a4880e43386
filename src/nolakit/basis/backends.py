"""Which code computes `combine` and `project` for a tensor.

A backend is a module with three functions, `combine(coefficients, seed, stream, size)`,
`project(grad, num_basis, seed, stream)` and `integer_sums(digits, seed, stream, size)`, on tensors with exactly one
batch dimension. A new one is a file and a row in `BACKENDS`; it is imported when it is first needed.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

import torch

from nolakit.errors import BackendError

ENVIRONMENT_VARIABLE = "NOLAKIT_BACKEND"


@dataclass(frozen=True)
class Backend:
    """One row: where the functions are, what they need, and which tensors they take."""

    module: str
    requires: str  # the package it cannot run without
    supports: Callable[[torch.Tensor], bool]


def _triton_runs_on(tensor: torch.Tensor) -> bool:
    return tensor.is_cuda or (tensor.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1")


BACKENDS = {  # the first that supports a tensor computes it
    "numba": Backend(
        "nolakit.basis.cpu", "numba", lambda t: t.device.type == "cpu" and t.dtype == torch.float32
    ),
    "triton": Backend(
        "nolakit.basis.gpu", "triton", lambda t: t.dtype == torch.float32 and _triton_runs_on(t)
    ),
    "reference": Backend("nolakit.basis.reference", "torch", lambda t: True),
}

_forced: str | None = None


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Compute with the backend `name` inside a with block, where it supports the tensor.

    Raises:
        BackendError: no backend has that name.
    """
    global _forced
    previous, _forced = _forced, _checked(name)
    try:
        yield
    finally:
        _forced = previous


def backend_for(tensor: torch.Tensor) -> ModuleType:
    """The module that computes on `tensor`: the forced one, that of the environment variable
    `NOLAKIT_BACKEND`, or the first row that supports it.

    Raises:
        BackendError: the chosen backend does not support the tensor, or has an unknown name.
    """
    chosen = _forced or os.environ.get(ENVIRONMENT_VARIABLE)
    if chosen is not None:
        backend = BACKENDS[_checked(chosen)]
        if not backend.supports(tensor):
            raise BackendError(
                f"found a {tensor.dtype} tensor on {tensor.device}, which backend {chosen!r} does not take; "
                "use backend 'reference', or leave the choice open"
            )
        return importlib.import_module(backend.module)
    for backend in BACKENDS.values():
        if backend.supports(tensor) and _installed(backend.requires):
            return importlib.import_module(backend.module)
    raise BackendError(f"found no backend for a {tensor.dtype} tensor on {tensor.device}")


def _checked(name: str) -> str:
    if name not in BACKENDS:
        raise BackendError(f"found backend {name!r}; expected one of {', '.join(BACKENDS)}")
    return name


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
