"""docs/methods-contract.md: its method passes the checks, and its table is of all of them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from nolakit import methods

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "methods-contract.md").read_text(encoding="utf-8")


def test_a_method_of_one_s_own(monkeypatch):
    source, use = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    here = Path(__file__).parent
    assert source == (here / "half_lora.py").read_text(encoding="utf-8")
    monkeypatch.setattr(methods, "_METHODS", dict(methods._METHODS))
    monkeypatch.syspath_prepend(here)
    exec(use, {})
    assert "half_lora" in methods.names()


def test_the_table_is_generated():
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from contract_table import with_checks
    finally:
        sys.path.pop(0)
    assert with_checks(PAGE) == PAGE, "run python tools/contract_table.py"
