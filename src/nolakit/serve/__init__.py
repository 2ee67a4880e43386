"""Many adapters beside one base model: a batch may mix any of them."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from nolakit.serve.encoders import Encoder
    from nolakit.serve.engine import Engine
    from nolakit.serve.request import Finished, Handle, Token
    from nolakit.serve.sampling import Sampling
    from nolakit.serve.watching import Observer, Stats

__all__ = ["Encoder", "Engine", "Finished", "Handle", "Observer", "Sampling", "Stats", "Token"]

_LAZY = {
    "Encoder": "nolakit.serve.encoders",
    "Engine": "nolakit.serve.engine",
    "Finished": "nolakit.serve.request",
    "Handle": "nolakit.serve.request",
    "Observer": "nolakit.serve.watching",
    "Sampling": "nolakit.serve.sampling",
    "Stats": "nolakit.serve.watching",
    "Token": "nolakit.serve.request",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'nolakit.serve' has no attribute {name!r}; it has {', '.join(__all__)}")
