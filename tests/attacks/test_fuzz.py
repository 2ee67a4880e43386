"""Inputs that nobody wrote: every reader takes them or raises an error of nolakit's."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks import mutations
from attacks.limits import bounded
from attacks.targets import TARGETS, bundle_seeds
from nolakit.adapter.container import Stored
from nolakit.errors import AdapterError, NolakitError
from nolakit.store.bundles import MANIFEST, MANIFEST_DIGEST

HARNESS = Path(__file__).with_name("fuzz.py")
RUNS = 500


def passes(name: str, data: bytes) -> bool:
    with bounded():
        try:
            TARGETS[name].read(data)
        except NolakitError:
            return False
    return True


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(seed=st.integers(0, 1 << 32), changes=st.integers(1, 4))
def test_changed_inputs(name: str, seed: int, changes: int) -> None:
    random = Random(seed)
    data = random.choice(TARGETS[name].seeds())
    for _ in range(changes):
        data = TARGETS[name].mutate(data, random, lambda part: mutations.damaged(part, random))
    passes(name, data)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(data=st.binary(max_size=200))
def test_any_bytes(name: str, data: bytes) -> None:
    passes(name, data)


@pytest.mark.parametrize(
    "name", [name for name in TARGETS if name != "references"]
)  # a reference is no tag too
def test_what_the_changes_begin_from_passes(name: str) -> None:
    assert all(passes(name, data) for data in TARGETS[name].seeds())


def _bundle(part: str, dtype: str) -> bytes:
    """A bundle with a part of another dtype."""
    content = mutations.content_of(bundle_seeds()[0])
    one = content[part]
    size = {"F8_E4M3": 1, "F16": 2}[dtype]
    return mutations.file_of(content | {part: Stored(dtype, (len(one.data) // size,), one.data)})


FOUND = {  # by fuzzing: target, input, what is said now
    "a bundle's list in a dtype that numpy lacks": ("bundle", lambda: _bundle(MANIFEST, "F8_E4M3"), "expected bytes"),
    "its digest": ("bundle", lambda: _bundle(MANIFEST_DIGEST, "F8_E4M3"), "expected bytes"),
    "its digest of a known dtype": ("bundle", lambda: _bundle(MANIFEST_DIGEST, "F16"), "expected bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", FOUND)
def test_what_was_found(case: str) -> None:
    name, made, said = FOUND[case]
    with pytest.raises(AdapterError, match=said):
        TARGETS[name].read(made())


needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris has wheels for Linux on x86-64 alone"
)


@needs_atheris
@pytest.mark.parametrize("name", ["description", "bundle"])
def test_the_harness_runs(name: str, tmp_path: Path) -> None:
    here = [
        sys.executable,
        str(HARNESS),
        "--runs",
        str(RUNS),
        "--target",
        name,
        "--keep",
        str(tmp_path / "keep"),
    ]
    done = subprocess.run(here, capture_output=True, text=True, env=os.environ, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(rf"{name}: {RUNS} inputs, 0 findings\n", done.stdout)
    assert not list(tmp_path.iterdir())


@needs_atheris
def test_the_harness_reports_what_it_finds(tmp_path: Path) -> None:
    """An error of another kind from a reader is printed, kept, and is the exit code."""
    broken = tmp_path / "sitecustomize.py"
    broken.write_text(
        "import nolakit.store.names as names\n"
        "def parse_ref(text):\n    raise KeyError('broken')\n"
        "names.parse_ref = parse_ref\n"
    )
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    here = [
        sys.executable,
        str(HARNESS),
        "--runs",
        "50",
        "--target",
        "references",
        "--keep",
        str(tmp_path / "keep"),
    ]
    done = subprocess.run(
        here, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths}, timeout=120
    )
    assert done.returncode == 1, done.stderr
    assert "references: 50 inputs, 1 findings\n  KeyError at " in done.stdout
    assert (tmp_path / "keep" / "references-0").is_file()
