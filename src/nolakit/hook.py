"""Registers nolakit's methods when PEFT is imported, whichever of the two comes first.

PEFT has no entry points, and importing it loads torch and transformers. So `import nolakit` only waits for
PEFT. With `install_startup_file` every Python process of an environment waits, and adapters open in programs
that never heard of nolakit; without it, `PeftModel.from_pretrained` on a nolakit adapter in such a program
ends in `KeyError: 'NOLAKIT_NOLA'`, and the remedy is `import nolakit`.
"""

from __future__ import annotations

import sys
import sysconfig
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

STARTUP_FILE = "nolakit_startup.pth"
# Runs at every start of Python in the environment, also after nolakit is uninstalled.
STARTUP_LINE = "import importlib.util; importlib.util.find_spec('nolakit') and __import__('nolakit')\n"


def register_with_peft() -> None:
    """Register now if PEFT is imported, else right after it is."""
    if "peft" in sys.modules and getattr(sys.modules["peft"], "PeftModel", None) is not None:
        _register()
    elif not any(isinstance(finder, _PeftFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _PeftFinder())


def startup_file() -> Path:
    """Where the start-up file of this Python environment is, or would be."""
    return Path(sysconfig.get_path("purelib")) / STARTUP_FILE


def install_startup_file() -> Path:
    """Make every Python process of this environment open nolakit adapters. About 2 ms at each start."""
    path = startup_file()
    path.write_text(STARTUP_LINE)
    return path


def remove_startup_file() -> bool:
    """Undo `install_startup_file`. False if there was none."""
    path = startup_file()
    existed = path.exists()
    path.unlink(missing_ok=True)
    return existed


def _register() -> None:
    from nolakit.tuner.registration import register_all

    register_all()


class _PeftFinder(MetaPathFinder):
    """Finds `peft` as Python would, once, and adds the registration behind its execution."""

    def find_spec(self, fullname: str, path=None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != "peft":
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _RegisteringLoader(spec.loader)
        return spec


class _RegisteringLoader(Loader):
    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader  # nothing of ours stays behind
        _register()
