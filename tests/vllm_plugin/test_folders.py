"""Adapters as folders, for a vLLM that loads otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from safetensors.torch import load_file

import nolakit
from nolakit.errors import AdapterError
from nolakit.vllm.folders import MEMORY, Folders, default_parent

HOLD = """
import sys
from pathlib import Path
from nolakit.vllm.folders import Folders
print(Folders(Path(sys.argv[1]))._own(), flush=True)
sys.stdin.readline()
import os; os._exit(0)
"""


def test_a_folder_is_what_is_exported_and_is_made_once(served, tmp_path):
    folders = Folders(tmp_path / "folders")
    folder = folders.folder_of(served.store.get("a"))
    made = (folder / "adapter_model.safetensors").stat().st_mtime_ns
    assert folders.folder_of(served.store.get("a")) == folder
    assert (folder / "adapter_model.safetensors").stat().st_mtime_ns == made
    packed = tmp_path / "a.nola"
    packed.write_bytes(served.store.read("a"))
    exported = nolakit.export_lora(packed, tmp_path / "exported")
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (folder / name).read_bytes() == (exported / name).read_bytes()
    assert load_file(folder / "adapter_model.safetensors")


def test_what_an_ended_process_left_is_deleted_and_what_a_living_one_uses_is_not(served, tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout and holder.stdin
        theirs = Path(holder.stdout.readline().strip())
        mine = Folders(tmp_path).folder_of(served.store.get("a"))
        assert theirs.is_dir() and mine.is_dir()
        holder.stdin.write("\n")
        holder.stdin.close()
        holder.wait()
    assert theirs.is_dir()  # it ended without cleaning up
    Folders(tmp_path).folder_of(served.store.get("a"))
    assert not theirs.exists() and mine.is_dir()


def test_no_folder_can_be_made(served, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AdapterError, match="file"):
        Folders(tmp_path / "file").folder_of(served.store.get("a"))


def test_folders_are_in_memory_where_there_is_such_storage():
    parent = default_parent()
    assert parent.parent in (MEMORY, Path(tempfile.gettempdir()))
    assert (parent.parent == MEMORY) == os.access(MEMORY, os.W_OK)
