"""`nolakit average`: adapters of a linear method, and what it says of others."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file

from shell import Place, run


def test_average(place: Place, tmp_path: Path) -> None:
    usual = ("--model", place.llama, "--data", place.pairs, "--method", "lora_xs", "--r", 2, "--max-steps", 2)
    for seed in (1, 2):
        assert run("train", *usual, "--data-seed", seed, "-o", tmp_path / str(seed)).code == 0
    both = (tmp_path / "1", tmp_path / "2")
    made = run("average", *both, "-o", tmp_path / "both", "--json").json()
    assert made["weights"] == [0.5, 0.5] and made["trained"] == 14 * 4
    parts = [load_file(folder / "adapter_model.safetensors") for folder in (*both, tmp_path / "both")]
    assert all(
        (parts[0][key].double() + parts[1][key]).div(2).float().equal(value)
        for key, value in parts[2].items()
    )
    assert run("evaluate", tmp_path / "both", "--data", place.pairs, "--json").json()["rows"] > 0
    shown = run("average", *both, "--weights", "2,-1", "-o", tmp_path / "other")
    assert shown.code == 0 and "weights" in shown.stdout
    assert run("average", *both, "-o", tmp_path / "other").code == 5
    assert run("average", *both, "--weights", "a,b", "-o", tmp_path / "x").code == 2
    refused = run("average", place.writer, place.writer, "-o", tmp_path / "x")
    assert refused.code == 2 and "quadratic" in refused.stderr
