"""The backends that run on this machine, each with the device of its tests.

Triton's kernels run on a GPU where there is one, and otherwise in its interpreter, on CPU tensors.
"""

from __future__ import annotations

import importlib.util
import os

from nolakit.basis.backends import BACKENDS

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"

BACKENDS_HERE = {
    name: "cuda" if name == "triton" and not INTERPRETED else "cpu"
    for name, backend in BACKENDS.items()
    if importlib.util.find_spec(backend.requires)
}
