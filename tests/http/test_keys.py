"""Who may do what."""

from __future__ import annotations

import openai
import pytest

from live_server import live
from nolakit.errors import ConfigError
from nolakit.http.failures import described
from nolakit.http.keys import hash_key, read_keys

FILE = f"""
[[keys]]
name = "team"
sha256 = "{hash_key("nk-team")}"
adapters = ["team/*"]

[[keys]]
name = "slow"
sha256 = "{hash_key("nk-slow")}"
limits = "2/hour; 100/day"

[[keys]]
name = "admin"
sha256 = "{hash_key("nk-admin")}"
admin = true

[[keys]]
name = "nothing"
sha256 = "{hash_key("nk-nothing")}"
adapters = []
"""


@pytest.fixture
def keys(tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text(FILE)
    return read_keys(path)


@pytest.fixture
def locked(served, metrics, keys):
    with live(served, metrics, keys=keys) as made:
        yield made


def ask(locked, key: str, model: str) -> str:
    return locked.openai_as(key).completions.create(model=model, prompt="hello", max_tokens=5).choices[0].text


def test_without_a_key_there_is_nothing_but_health(locked):
    for header in (
        "", "Bearer", "Bearer nk-tea", "Basic nk-team", "nk-team", b"Bearer \xff\xfe",
        f"Bearer {hash_key('nk-team')}", None,
    ):  # fmt: skip
        for method, path in (
            ("POST", "/v1/completions"), ("GET", "/v1/models"), ("PUT", "/v1/adapters/x"), ("GET", "/metrics"),
            ("GET", "/status.json"), ("GET", "/openapi.json"), ("GET", "/v1/nothing"),
        ):  # fmt: skip
            headers = {} if header is None else {"Authorization": header}
            answer = locked.client.request(method, path, headers=headers, content=b"x" * 100)
            assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error"), path
            assert answer.headers["www-authenticate"] == "Bearer"
    assert locked.client.get("/health").json()["status"] == "ok"
    assert "nolakit" in locked.client.get("/").text


def test_a_key_is_looked_at_before_a_body_is_read(locked):
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    with locked.raw(head) as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_a_key_may_use_what_its_globs_match(locked, digest):
    for model in ("team/one", "team/one@1", "team/one:best", "team/two", "sha256:" + digest("team/two")):
        assert ask(locked, "nk-team", model).startswith(digest(model)[:4])
    for model in (
        "base",
        "other",
        "other@1",
        "nothing",
        "teamx",
        "sha256:" + digest("other"),
        "sha256:" + "0" * 64,
    ):
        with pytest.raises(openai.PermissionDeniedError, match="not among what this key may use"):
            ask(locked, "nk-team", model)
    assert ask(locked, "nk-admin", "base") == "hello"
    assert [model.id for model in locked.openai_as("nk-team").models.list().data] == ["team/one", "team/two"]
    assert locked.openai_as("nk-nothing").models.list().data == []
    for model in ("base", "sha256:" + digest("other")):
        with pytest.raises(openai.PermissionDeniedError):
            ask(locked, "nk-nothing", model)
        with pytest.raises(openai.PermissionDeniedError):
            locked.openai_as("nk-nothing").models.retrieve(model)


def test_more_requests_than_the_limit_have_to_wait(locked):
    for _ in range(2):
        ask(locked, "nk-slow", "base")
    with pytest.raises(openai.RateLimitError) as caught:
        ask(locked, "nk-slow", "base")
    assert 3500 < int(caught.value.response.headers["retry-after"]) <= 3601
    assert ask(locked, "nk-admin", "base") == "hello"


def test_only_an_admin_changes_adapters(locked):
    for method, path in (
        ("PUT", "/v1/adapters/x"),
        ("DELETE", "/v1/adapters/other"),
        ("PUT", "/v1/tags/other:a"),
    ):
        headers = {"Authorization": "Bearer nk-team"}
        answer = locked.client.request(method, path, headers=headers, content=b"")
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_admin")
    answer = locked.client.put("/v1/tags/other:a", headers={"Authorization": "Bearer nk-admin"})
    assert answer.json()["tags"] == ["a"]


def test_the_status_hides_names_from_keys_that_may_not_use_them(locked):
    ask(locked, "nk-admin", "other")
    ask(locked, "nk-team", "team/two")
    found = {}
    for key in ("nk-team", "nk-admin"):
        status = locked.client.get("/status.json", headers={"Authorization": f"Bearer {key}"}).json()
        found[key] = [slot["name"] for slot in status["slots"] if slot["used"]]
    assert found == {"nk-team": [None, "team/two"], "nk-admin": ["other", "team/two"]}


@pytest.mark.parametrize("text, message", [
    ("", "no .*keys"), ("keys = []", "no .*keys"), ("[[keys]", "TOML"), ("[[keys]]\nname='a'", "other fields"),
    ("[[keys]]\nname='a'\nsha256='b'", "no SHA-256"), (FILE + "\nextra=1", "other fields"), (FILE + FILE, "two keys"),
    (FILE + '\nlimits="often"', "such as '60/minute"), (FILE.replace('["team/*"]', "[1]"), "globs as texts"),
    (FILE.replace("admin = true", "admin = 1"), "expected a bool"), ("[other]\n" + FILE, "more than them"),
])  # fmt: skip
def test_a_file_that_is_wrong_is_refused(tmp_path, text, message):
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_keys(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_keys(tmp_path / "keys.toml")


def test_an_unforeseen_failure_says_nothing_of_itself():
    status, body, _ = described(KeyError("secret"))
    assert status == 500
    assert "secret" not in str(body)
