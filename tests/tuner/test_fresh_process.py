"""What another process sees: the same numbers, and the import that makes PEFT know them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nolakit import basis, startup
from small_models import BY_NAME
from tuner import fresh_process
from tuner.adapting import adapted, coefficients, logits

CASE = BY_NAME["llama"]
TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapter")
    model = adapted(CASE, share_basis=False)
    model.save_pretrained(folder)
    return folder, model


def run(function, folder, **environment):
    program = [
        sys.executable,
        "-W",
        "error::UserWarning:nolakit",
        fresh_process.__file__,
        function,
        str(folder),
    ]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), **environment}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_same_coefficients_basis_and_outputs_in_float32_and_bfloat16(saved):
    folder, model = saved
    run("report", folder, PYTHONHASHSEED="12345")
    seen = torch.load(folder / "seen.pt")
    assert torch.equal(seen["logits"], logits(model, CASE.batch()))
    high = [basis.stream_number(role, "layers.0") >> 32 for role in ("lora_A", "lora_B", "lora_A0")]
    assert seen["streams"].tolist() == high
    assert len(coefficients(model)) == 12
    for name, values in coefficients(model).items():
        factor = model.get_submodule(name.rpartition(".")[0])
        there = name.replace(".default.", ".elsewhere.")
        assert torch.equal(seen[f"torch.float32 {there}"], values)
        assert torch.equal(seen[f"torch.bfloat16 {there}"], values.bfloat16())
        expected = fresh_process.basis_of(factor)
        assert torch.equal(seen[f"torch.float32 {there} basis"], expected)
        low = seen[f"torch.bfloat16 {there} basis"]
        assert low.dtype == torch.bfloat16 and torch.equal(low, expected.bfloat16())


def test_loading_before_the_import_is_a_key_error_that_the_import_cures(saved):
    run("without_import", saved[0])


def test_import_is_light_and_waits_for_peft(saved):
    run("light_import", saved[0])


def test_startup_file_opens_adapters_without_an_import(saved, monkeypatch, tmp_path):
    folder, _ = saved
    site = folder / "site"
    site.mkdir()
    monkeypatch.setattr(startup, "startup_file", lambda: site / startup.STARTUP_FILE)
    assert not startup.remove_startup_file()
    assert startup.install_startup_file() == site / startup.STARTUP_FILE
    run("startup_file", folder)
    assert startup.remove_startup_file() and not list(site.iterdir())


def test_streams_do_not_come_from_python_s_hash(tmp_path):
    for seed in ("1", "2"):
        run("no_python_hash", tmp_path, PYTHONHASHSEED=seed)
    assert len(list(tmp_path.iterdir())) == 2  # hash() did differ
