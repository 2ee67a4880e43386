"""The opt-in start-up file: with it, every Python process of an environment opens nolakit adapters.

Without it, `PeftModel.from_pretrained` on a nolakit adapter, in a program that never imported nolakit, ends in
`KeyError: 'NOLAKIT_NOLA'`; the remedy there is `import nolakit` before the adapter is loaded.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

STARTUP_FILE = "nolakit_startup.pth"
# Also runs, and does nothing, after nolakit is uninstalled.
STARTUP_LINE = "import importlib.util; importlib.util.find_spec('nolakit') and __import__('nolakit')\n"


def startup_file() -> Path:
    """Where the start-up file of this Python environment is, or would be."""
    return Path(sysconfig.get_path("purelib")) / STARTUP_FILE


def install_startup_file() -> Path:
    """Write the start-up file. It costs a few milliseconds at each start of Python."""
    path = startup_file()
    path.write_text(STARTUP_LINE)
    return path


def remove_startup_file() -> bool:
    """Undo `install_startup_file`. False if there was nothing to undo."""
    path = startup_file()
    existed = path.exists()
    path.unlink(missing_ok=True)
    return existed
