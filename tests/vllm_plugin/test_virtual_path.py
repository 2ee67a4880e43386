"""Paths that name content."""

from __future__ import annotations

from pathlib import Path

import pytest

from nolakit.errors import AdapterError
from nolakit.vllm.virtual_path import VirtualPath, is_virtual, parse_virtual

DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize("name", ["a", "team/task", "task@3", "task:best", "sha256:" + DIGEST])
@pytest.mark.parametrize("store", ["/s.nola", "/data/of one/s@2.nola", f"/odd@{DIGEST}/s.nola"])
def test_what_is_written_is_read(store, name):
    path = VirtualPath(Path(store), DIGEST, name)
    text = str(path)
    assert parse_virtual(text) == path
    assert is_virtual(text) and text.startswith("/") and DIGEST in text
    assert path.ref == "sha256:" + DIGEST


@pytest.mark.parametrize("text", [
    "/nola:", "/nola:s.nola@" + DIGEST + "/a", "/nola:/s.nola@" + DIGEST, "/nola:/s.nola@" + DIGEST[1:] + "/a",
    "/nola:/s.nola@" + DIGEST.upper() + "/a", "/nola:/s.nola/a",
])  # fmt: skip
def test_what_is_none_is_refused(text):
    with pytest.raises(AdapterError, match="expected /nola:"):
        parse_virtual(text)


def test_a_folder_is_not_virtual():
    assert not is_virtual("/data/adapter")
    assert not is_virtual("nola:/s.nola")
