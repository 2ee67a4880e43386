"""`nolakit store`, as a shell sees it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nolakit.cli.store.app import app
from nolakit.store.store import Store
from packed_bytes import packed
from shell import run

COMMANDS = [str(command.name) for command in app.registered_commands]
DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.md"


@pytest.fixture
def file(tmp_path):
    """A store with two versions of `team/a` and one of `b`, and packed files beside it."""
    path = tmp_path / "s.nola"
    assert run("store", "init", path).code == 0
    for number in (1, 2):
        (tmp_path / f"{number}.safetensors").write_bytes(packed(number))
        found = run(
            "store",
            "add",
            path,
            tmp_path / f"{number}.safetensors",
            "--name",
            "team/a",
            "--tag",
            f"v{number}",
        )
        assert found.stdout.startswith(f"team/a@{number} ")
    assert (
        run("store", "add", path, tmp_path / "1.safetensors", "--name", "b", "--json").json()["version"] == 1
    )
    return path


def test_listing_as_a_table_and_as_json(file):
    lines = run("store", "ls", file).stdout.splitlines()
    assert lines[0].split() == [
        "name",
        "version",
        "bytes",
        "bits",
        "method",
        "created",
        "digest",
        "base",
        "tags",
    ]
    assert [line.split()[0] for line in lines[1:]] == ["b", "team/a"]
    assert lines[2].endswith("some/base  v2")
    rows = run("store", "ls", file, "team/*", "--all", "--json").json()
    assert [(row["version"], row["tags"]) for row in rows] == [(1, ["v1"]), (2, ["v2"])]
    assert run("store", "ls", file, "--base", "other", "--json").json() == []
    assert run("store", "ls", file, "--method", "nola", "--json").json()[0]["name"] == "b"


def test_getting_exporting_and_importing(file, tmp_path):
    assert run("store", "get", file, "team/a:v1", "-o", tmp_path / "a").code == 0
    assert (tmp_path / "a").read_bytes() == packed(1)
    assert run("store", "get", file, "b", "-o", tmp_path / "a").code == 5
    assert run("store", "get", file, "b", "-o", tmp_path / "a", "--overwrite", "--json").json()["bytes"]
    found = run("store", "export", file, "-o", tmp_path / "all.safetensors", "--json").json()
    assert found["adapters"] == ["b@1", "team/a@2"]
    other = tmp_path / "other.nola"
    assert run("store", "init", other, "--json").json()["path"] == str(other)
    found = run("store", "import", other, tmp_path / "all.safetensors", "--prefix", "in/", "--json").json()
    assert [entry["name"] for entry in found] == ["in/b", "in/team/a"]


def test_tags_removal_and_collection(file):
    assert run("store", "tag", file, "team/a@1", "best").code == 0
    assert run("store", "ls", file, "team/a", "--all", "--json").json()[0]["tags"] == ["best", "v1"]
    assert run("store", "tag", file, "team/a", "best", "--remove").code == 0
    assert run("store", "rm", file, "team/a", "--json").json() == ["team/a@1", "team/a@2"]
    assert run("store", "gc", file, "--dry-run", "--json").json()["blobs"] == 1
    assert run("store", "gc", file, "--compact").stdout.startswith("deleted 1 adapters")
    stats = run("store", "stats", file, "--json").json()
    assert (stats["names"], stats["blobs"], stats["unreferenced"]) == (1, 1, 0)


def test_exit_codes(file, tmp_path):
    assert run("store", "ls", tmp_path / "none").code == 3
    assert run("store", "ls", tmp_path / "1.safetensors").code == 3
    assert run("store", "get", file, "c", "-o", tmp_path / "c").code == 3
    assert run("store", "get", file, "../c", "-o", tmp_path / "c").code == 2
    assert run("store", "add", file, tmp_path / "none").code == 3
    assert run("store", "init", file).code == 5
    with Store(file) as store, store.pin("b"):
        found = run("store", "rm", file, "b")
        assert (found.code, "in use" in found.stderr) == (6, True)
        assert "pinned" in run("store", "stats", file).stdout
    assert not (tmp_path / "c").exists()


def test_verify_names_what_is_damaged(file):
    assert run("store", "verify", file).stdout == "2 adapters read, 0 problems\n"
    text = file.read_bytes()
    place = text.index(packed(1)[-40:])
    file.write_bytes(text[:place] + b"\0" + text[place + 1 :])
    found = run("store", "verify", file)
    assert (found.code, found.stdout.startswith("damaged: b@1, team/a@1: ")) == (3, True)
    assert run("store", "verify", file, "--json").code == 3


def test_publishing_and_fetching(file, tmp_path):
    url = f"file://{tmp_path}/there.nola"
    assert run("store", "publish", file, url).code == 0
    assert run("store", "publish", file, url).code == 5
    assert run("store", "publish", file, url, "--overwrite", "--json").json()["bytes"]
    assert run("store", "fetch", url, tmp_path / "here.nola", "--json").json()["names"] == 2
    assert run("store", "fetch", "memory://none", tmp_path / "none.nola").code == 3


@pytest.mark.parametrize("command", COMMANDS)
def test_each_has_an_example_and_its_options_are_documented(command):
    shown = " ".join(re.sub(r"[│╭╮╰╯─]", " ", run("store", command, "--help").stdout).split())
    assert f"Example: nolakit store {command} " in shown
    section = DOCUMENT.read_text().partition("\n## nolakit store")[2].partition("\n## ")[0]
    assert f"| `{command}" in section
    options = set(re.findall(r"--[a-z][a-z-]+", shown)) - {"--help", "--json", "--overwrite", "--output"}
    assert not [option for option in options if option not in section], command
