"""A second process that loads adapters, kept for as long as this one lives: importing torch and PEFT takes seconds.

It reads a request a line, as JSON, and answers with a line each.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import traceback
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from nolakit import methods
from nolakit.testing.adapting import Tensors, coefficients, loaded, logits, updates
from nolakit.testing.bases import BASES
from nolakit.testing.row import Row

MARK = "nolakit answers: "  # before it, lines are other packages'


def seen_in_another_process(row: Row, base: str, folder: Path) -> Tensors:
    """`logits`, the numbers and `update PATH` of each layer, of a saved adapter on one of `BASES`."""
    with tempfile.TemporaryDirectory() as place:
        answer = Path(place) / "seen.safetensors"
        method = row.method_class
        _ask({
            "method": [row.method, method.__module__, method.__qualname__],
            "path": sys.path,
            "base": base, "folder": str(folder), "answer": str(answer), "threads": torch.get_num_threads(),
        })  # fmt: skip
        return load_file(answer)


def _ask(request: dict[str, Any]) -> None:
    process = _process()
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    for line in process.stdout:
        if line.startswith(MARK):
            found = json.loads(line.removeprefix(MARK))
            assert found is None, f"in another process:\n{found}"
            return
    raise AssertionError("the other process ended without an answer")


@cache
def _process() -> subprocess.Popen[str]:
    hash_seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", f"from {__name__} import answer_all; answer_all()"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    atexit.register(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    process.communicate()  # it ends with its input


def _answer(request: dict[str, Any]) -> None:
    from nolakit.tuner.registration import register_all

    torch.set_num_threads(request["threads"])
    sys.path[:] = request["path"]
    methods.register(*request["method"])
    register_all()
    model = loaded(request["base"], request["folder"])
    seen = {name: value.detach() for name, value in coefficients(model).items()}
    seen |= {f"update {name}": update for name, update in updates(model).items()}
    seen["logits"] = logits(model, BASES[request["base"]].batch())
    save_file({name: value.contiguous() for name, value in seen.items()}, request["answer"])


def answer_all() -> None:
    """Until there are no more requests."""
    for line in sys.stdin:
        failure = None
        try:
            _answer(json.loads(line))
        except Exception:
            failure = traceback.format_exc()
        print(MARK + json.dumps(failure), flush=True)
