"""`nolakit pack`, `unpack`, and every other command on a packed file."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from shell import Place, run


@pytest.fixture(scope="module")
def packed(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "writer.safetensors"
    assert run("pack", place.writer, "-o", path, "--bits", 8).code == 0
    return path


def test_pack_and_unpack(place: Place, tmp_path: Path) -> None:
    sizes = []
    for bits in (32, 16, 8, 4):
        made = run(
            "pack", place.writer, "-o", tmp_path / f"{bits}.safetensors", "--bits", bits, "--json"
        ).json()
        assert set(made) == {"output", "bits", "bytes", "coefficient_bytes", "digest", "check"}
        assert (made["bits"], made["check"]) == (bits, None)
        assert made["bytes"] == (tmp_path / f"{bits}.safetensors").stat().st_size
        sizes.append(made["coefficient_bytes"])
    assert sizes == [14 * 32 * 4, 14 * 32 * 2, 14 * (32 + 8), 14 * (16 + 8)]
    unpacked = run("unpack", tmp_path / "32.safetensors", "-o", tmp_path / "again", "--json").json()
    found = load_file(tmp_path / "again" / "adapter_model.safetensors")
    before = load_file(Path(place.writer) / "adapter_model.safetensors")
    assert found.keys() == before.keys() and all(found[key].equal(before[key]) for key in before)
    assert unpacked["bytes"] == (tmp_path / "again" / "adapter_model.safetensors").stat().st_size


def test_what_packing_costs(place: Place, tmp_path: Path) -> None:
    arguments = ("pack", place.classifier, "--bits", 4, "--check", place.classified)
    made = run(*arguments, "-o", tmp_path / "x.safetensors", "--json").json()["check"]
    before = run("evaluate", place.classifier, "--data", place.classified, "--json").json()
    after = run("evaluate", tmp_path / "x.safetensors", "--data", place.classified, "--json").json()
    assert made["before"] == pytest.approx(before["metrics"], rel=1e-6)
    assert made["after"] == pytest.approx(after["metrics"], rel=1e-6)
    loss = after["metrics"]["loss"] - before["metrics"]["loss"]
    assert made["difference"]["loss"] == pytest.approx(loss, abs=1e-6)
    assert 0.01 < made["update_error"] < 0.3
    assert made["rows"] == before["rows"]
    shown = run(*arguments, "-o", tmp_path / "y.safetensors")
    assert "relative error of the update" in shown.stdout and "accuracy" in shown.stdout


def test_every_command_takes_a_packed_file(place: Place, packed: Path, tmp_path: Path) -> None:
    found = run("inspect", packed, "--json").json()
    assert (found["method"], found["bits"], len(found["modules"])) == ("nola", 8, 14)
    assert "SHA-256" in run("inspect", packed).stdout
    prompt = ("--prompt", "the red pear", "--max-new-tokens", 5, "--json")
    (generated,) = run("generate", packed, *prompt).json()
    metrics = run("evaluate", packed, "--data", place.pairs, "--json").json()["metrics"]
    folder, model, lora = tmp_path / "folder", tmp_path / "model", tmp_path / "lora"
    assert run("unpack", packed, "-o", folder).code == 0
    assert run("merge", packed, "-o", model).code == 0
    assert run("export", packed, "--to", "lora", "-o", lora).code == 0
    for other in (folder, model, lora):
        assert run("generate", other, *prompt).json() == [generated]
        again = run("evaluate", other, "--data", place.pairs, "--json").json()["metrics"]
        assert again == pytest.approx(metrics, rel=1e-4)


def test_a_packed_folder(place: Place, tmp_path: Path) -> None:
    assert run("pack", place.writer, "-o", tmp_path / "packed", "--bits", 8).code == 0
    assert run("evaluate", tmp_path / "packed", "--data", place.pairs, "--json").json()["rows"] == 48


def test_training_for_few_bits(place: Place, tmp_path: Path) -> None:
    arguments = ("--data", place.pairs, "--max-steps", 3, "--r", 2, "--num-basis", 4, "--coefficient-bits", 4)
    made = run("train", "--model", place.llama, *arguments, "-o", tmp_path / "few", "--json")
    assert made.code == 0, made.stderr
    check = run(
        "pack",
        tmp_path / "few",
        "-o",
        tmp_path / "x.safetensors",
        "--bits",
        4,
        "--check",
        place.pairs,
        "--json",
    ).json()["check"]
    assert abs(check["difference"]["loss"]) < 1e-4
    refused = run(
        "train", "--model", place.llama, "--data", place.pairs, "--method", "lora", "--coefficient-bits", 4, "-o",
        tmp_path / "lora",
    )  # fmt: skip
    assert refused.code == 2 and "coefficient_bits" in refused.stderr


def test_exit_codes(place: Place, packed: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.safetensors"
    assert run("pack", place.writer, "-o", target, "--bits", 3).code == 2
    assert run("pack", place.llama, "-o", target).code == 3
    assert run("pack", place.writer, "-o", target, "--check", "none.jsonl").code == 3
    assert not target.exists()
    assert run("pack", place.writer, "-o", packed).code == 5
    assert run("pack", place.writer, "-o", packed, "--check", place.pairs).code == 5
    target.write_bytes(packed.read_bytes()[:-1])
    for command in (("inspect", target), ("unpack", target, "-o", tmp_path / "y")):
        found = run(*command)
        assert found.code == 3 and "x.safetensors" in found.stderr
    assert run("evaluate", packed, "--data", place.pairs, "--base", place.other_llama).code == 4
    assert run("pack", place.writer, "-o", target, "--overwrite").code == 0
