"""What `nolakit serve` refuses before it loads a model, and keys that `nolakit serve-key` makes."""

from __future__ import annotations

import sys

import pytest

import tiny
from nolakit.http.keys import hash_key, read_keys
from nolakit.http.server import address_of, listen
from shell import run


@pytest.fixture
def options(tmp_path, store):
    return ("--model", tiny.llama(tmp_path / "llama"), "--store", store.path)


def test_options_that_cannot_hold(options, tmp_path):
    (tmp_path / "keys.toml").write_text("keys = []")
    for more, code, message in (
        (("--task", "image-classification"), 2, "found task 'image-classification'"),
        (("--keys", tmp_path / "keys.toml"), 2, "no [[keys]]"),
        (("--keys", tmp_path / "keys.toml", "--admin"), 2, "admin = true at a key"),
        (("--dtype", "float8"), 2, "found dtype 'float8'"),
        (("--quantize", "1bit"), 2, "found quantize='1bit'"),
        (("--store", tmp_path / "nothing.nola"), 3, "found no store"),
        (("--model", tmp_path / "nothing"), 3, "found no model folder"),
        (("--host", "256.0.0.1"), 2, "no way to listen"),
        (("--max-length", 100_000), 2, "found max_length=100000"),
        (("--pin", "team/nobody"), 3, "team/nobody"),
    ):
        outcome = run("serve", "--port", 0, *options, *more)
        assert (outcome.code, outcome.stdout) == (code, ""), outcome.stderr
        assert message in outcome.stderr


def test_without_the_packages_it_says_how_to_get_them(options, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    for name in [name for name in sys.modules if name.startswith("nolakit.http")]:
        monkeypatch.delitem(sys.modules, name)
    outcome = run("serve", *options)
    assert outcome.code == 2
    assert "found no package 'uvicorn'; pip install 'nolakit[serve]'" in outcome.stderr


def test_a_port_that_is_taken(options):
    with listen("127.0.0.1", 0) as taken:
        port = address_of(taken).rpartition(":")[2]
        outcome = run("serve", "--port", port, *options)
    assert outcome.code == 2
    assert f"no way to listen on 127.0.0.1:{port}" in outcome.stderr


def test_a_made_key_is_what_the_file_of_its_row_takes(tmp_path):
    made = run("serve-key", "reviews", "--adapter", "team/*", "--limits", "60/minute")
    (tmp_path / "keys.toml").write_text(made.stdout)
    key = next(word for word in made.stderr.split() if word.startswith("nk-"))
    found = read_keys(tmp_path / "keys.toml").find(key)
    assert (found.name, found.sha256, found.adapters, found.admin) == (
        "reviews",
        hash_key(key),
        ("team/*",),
        False,
    )
    assert key not in made.stdout
    as_json = run("serve-key", "other", "--admin", "--json").json()
    assert hash_key(as_json["key"]) == as_json["row"]["sha256"]
    assert as_json["row"]["admin"] is True
    assert run("serve-key", "x", "--limits", "often").code == 2
