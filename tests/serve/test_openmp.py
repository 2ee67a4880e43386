"""Workers of OpenMP are given back, and come again with the next product."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os, time, torch
from nolakit.serve.openmp import release_workers

def workers():
    return len(os.listdir("/proc/self/task"))

before = workers()
numbers = torch.arange(4_000_000, dtype=torch.float64)
first = float((numbers * 2).sum())
during = workers()
release_workers()
deadline = time.monotonic() + 30
while workers() > before and time.monotonic() < deadline:
    time.sleep(0.01)
after = workers()
again = float((numbers * 2).sum())
release_workers()
print(during > before, after - before, first == again)
"""


ENGINE = """
import os, sys, time
from transformers import LlamaConfig, LlamaForCausalLM
from nolakit import Store
from nolakit.serve import Engine, Sampling

def workers():
    return len(os.listdir("/proc/self/task"))

model = LlamaForCausalLM(LlamaConfig(
    hidden_size=512, intermediate_size=1024, num_hidden_layers=2, num_attention_heads=4, vocab_size=8192,
)).eval()
most = []
model.register_forward_hook(lambda *_: most.append(workers()))
with Store.create(sys.argv[1]) as store, Engine(model, store, slots=1, eos_token_ids=[]) as engine:
    deadline = time.monotonic() + 30
    before = workers()
    for _ in range(2):
        engine.submit(list(range(200)), None, Sampling(max_new_tokens=4)).result()
        while workers() > before and time.monotonic() < deadline:
            time.sleep(0.01)
    print(max(most) > before, workers() - before, len(most))
"""


def run(code: str, *arguments: str) -> list[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.split()


pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(),
    reason="threads are counted where Linux lists them; elsewhere there is no GNU",
)


def test_workers_end_and_come_again():
    assert run(CODE) == ["True", "0", "True"]


def test_an_idle_engine_has_no_workers(tmp_path):
    assert run(ENGINE, str(tmp_path / "adapters.nola")) == ["True", "0", "8"]
