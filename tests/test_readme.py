"""The README's program prints what the README says, and its generated table is up to date."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_program_prints_what_is_written(tmp_path):
    program, output = (
        re.search(rf"```{kind}\n(.*?)```", README, re.S).group(1) for kind in ("python", "text")
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == output


def test_what_is_said_of_the_methods_is_generated():
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from methods_table import PAGES, with_generated
    finally:
        sys.path.pop(0)
    for page, make in PAGES.items():
        text = page.read_text(encoding="utf-8")
        assert with_generated(text, make()) == text, f"run python tools/methods_table.py: {page.name}"


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
