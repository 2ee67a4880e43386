"""Registers nolakit's methods when PEFT is imported, whichever of the two comes first.

PEFT has no entry points, and importing it loads torch and transformers; so `import nolakit` only waits for it.
This file runs at every `import nolakit`, and at every start of Python where `startup.py` installed it, so it
imports nothing: not even importlib.abc, whose classes need not be inherited from.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType


def register_with_peft() -> None:
    """Register now if PEFT is imported, else right after it is."""
    if hasattr(sys.modules.get("peft"), "PeftModel"):
        _register()
    elif not any(isinstance(finder, _PeftFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _PeftFinder())


def _register() -> None:
    from nolakit.tuner.registration import register_all

    register_all()


class _PeftFinder:
    """Finds `peft` as Python would, and puts the registration behind its execution. It stays until then, because
    transformers looks for PEFT without importing it."""

    def find_spec(self, fullname: str, path=None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != "peft":
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _RegisteringLoader(spec.loader)  # pyright: ignore[reportAttributeAccessIssue]
                return spec
        return None


class _RegisteringLoader:
    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _PeftFinder)]
        self.loader.exec_module(module)
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader  # nothing of ours stays behind
        _register()
