"""The examples are scripts: their folder is put where Python looks for it when it runs one."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "stdlib_docstrings"))
