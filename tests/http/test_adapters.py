"""Adapters that come, go and change their tags while requests run."""

from __future__ import annotations

import pytest

from live_server import live, request_bytes
from nolakit.errors import StoreBusyError, StoreDamagedError, StoreFullError
from nolakit.http.app import Bounds
from packed_bytes import packed


@pytest.fixture
def open_to_all(served, metrics):
    """A server on which everybody is an admin."""
    with live(served, metrics, admin=True) as made:
        yield made


def text_of(running, model: str) -> str:
    answer = running.post("/v1/completions", model=model, prompt="hello", max_tokens=4)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["text"]


def test_nobody_changes_adapters_unless_asked_for(running, store):
    before = store.entries(every=True)
    for method, path in (
        ("PUT", "/v1/adapters/new"), ("DELETE", "/v1/adapters/other"), ("PUT", "/v1/tags/other:a"),
        ("DELETE", "/v1/tags/team/one:best"),
    ):  # fmt: skip
        answer = running.client.request(method, path, content=packed(9) if path.endswith("new") else b"")
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_admin")
    assert store.entries(every=True) == before


def test_an_adapter_is_added_used_replaced_and_retired(open_to_all, store, engine):
    put = open_to_all.client.put("/v1/adapters/team/new", content=packed(9), params={"tag": ["a", "b"]})
    assert put.status_code == 200
    first = store.digest("team/new")
    assert (put.json()["id"], put.json()["version"], put.json()["tags"]) == ("team/new", 1, ["a", "b"])
    assert (put.json()["digest"], put.json()["size"]) == (first, len(packed(9)))
    assert text_of(open_to_all, "team/new") == first[:4]
    assert open_to_all.client.put("/v1/adapters/team/new", content=packed(10)).json()["version"] == 2
    second = store.digest("team/new")
    assert text_of(open_to_all, "team/new") == second[:4]
    assert text_of(open_to_all, "team/new:a") == first[:4]
    gone = open_to_all.client.delete("/v1/adapters/team/new@1").json()
    assert gone == {"id": "team/new@1", "object": "model", "deleted": True, "versions": ["team/new@1"]}
    assert engine.forgotten == [first]
    assert open_to_all.client.delete("/v1/adapters/team/new").json()["versions"] == ["team/new@2"]
    assert engine.forgotten == [first, second]
    for model in ("team/new", "team/new@2", f"sha256:{first}", f"sha256:{second}"):
        assert open_to_all.post("/v1/completions", model=model, prompt="x").status_code == 404
    assert open_to_all.client.delete("/v1/adapters/team/new").status_code == 404


def test_content_that_another_name_has_is_not_forgotten(open_to_all, store, engine):
    store.add("copy", packed(4))
    assert open_to_all.client.delete("/v1/adapters/other").status_code == 200
    assert engine.forgotten == []
    assert text_of(open_to_all, f"sha256:{store.digest('copy')}") == store.digest("copy")[:4]


def test_requests_under_way_finish_when_their_adapter_is_retired_or_replaced(open_to_all, store, engine):
    digest = store.digest("other")
    engine.hold(steps=1)
    body = {"model": "other", "prompt": "hello", "max_tokens": 9}
    with open_to_all.raw(request_bytes("/v1/completions", body)) as connection:
        engine.wait_for(lambda engine: engine.running)
        assert open_to_all.client.delete("/v1/adapters/other").status_code == 200
        open_to_all.client.put("/v1/adapters/other", content=packed(20))
        engine.go()
        answer = b""
        while b"usage" not in answer:
            answer += connection.recv(65536)
    assert f'"text":"{digest[:4]}hello"'.encode() in answer
    assert text_of(open_to_all, "other") == store.digest("other")[:4] != digest[:4]


def test_tags_are_set_moved_and_removed(open_to_all, store):
    first, second = store.digest("team/one@1"), store.digest("team/one@2")
    assert open_to_all.client.put("/v1/tags/team/one:new").json()["version"] == 2
    assert text_of(open_to_all, "team/one:new") == second[:4]
    assert open_to_all.client.put("/v1/tags/team/one:new", json={"version": 1}).json()["version"] == 1
    assert text_of(open_to_all, "team/one:new") == first[:4]
    assert open_to_all.client.delete("/v1/tags/team/one:new").json()["object"] == "tag"
    assert open_to_all.post("/v1/completions", model="team/one:new", prompt="x").status_code == 404
    assert open_to_all.client.delete("/v1/tags/team/one:new").status_code == 404


WRONG_NAMES = [
    ("PUT", "/v1/adapters/..%2Fx", 400), ("PUT", "/v1/adapters/a@1", 400), ("PUT", "/v1/adapters/a:b", 400),
    ("PUT", "/v1/adapters//etc/passwd", 400), ("PUT", "/v1/adapters/base", 400), ("PUT", "/v1/adapters/.x", 400),
    ("PUT", "/v1/adapters/new?tag=3", 400), ("PUT", "/v1/adapters/" + "x" * 301, 400),
    ("PUT", "/v1/adapters/new?tag=" + "&tag=a" * 20, 400),
    ("DELETE", "/v1/adapters/*", 400), ("DELETE", "/v1/adapters/team%2F*", 400), ("DELETE", "/v1/adapters/base", 404),
    ("DELETE", "/v1/adapters/team/one:best", 400), ("DELETE", "/v1/adapters/sha256:" + "0" * 64, 400),
    ("DELETE", "/v1/adapters/team/one@7", 404), ("PUT", "/v1/tags/team/one", 400), ("PUT", "/v1/tags/team/one@1", 400),
    ("PUT", "/v1/tags/nothing:a", 404), ("PUT", "/v1/tags/team/one:3", 400), ("DELETE", "/v1/tags/team/one", 400),
    ("DELETE", "/v1/tags/team/one:worst", 404),
]  # fmt: skip


def test_names_that_cannot_be(open_to_all, store):
    before = store.entries(every=True)
    for method, path, status in WRONG_NAMES:
        content = packed(9) if path.startswith("/v1/adapters") else b""
        answer = open_to_all.client.request(method, path, content=content)
        assert answer.status_code == status, f"{path}: {answer.text}"
        assert answer.json()["error"]["message"]
    assert store.entries(every=True) == before


def test_files_that_are_no_adapter(open_to_all, store):
    before = store.entries(every=True)
    for content in (b"", b"x", packed(9)[:-1], packed(9)[:100], b"\x00" * 1000):
        answer = open_to_all.client.put("/v1/adapters/new", content=content)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_adapter")
    assert store.entries(every=True) == before


def test_an_adapter_may_be_larger_than_a_request_but_not_endless(served, metrics):
    bounds = Bounds(most_bytes=500, most_upload_bytes=len(packed(9)))
    with live(served, metrics, admin=True, bounds=bounds) as running:
        assert running.client.put("/v1/adapters/new", content=packed(9)).status_code == 200
        assert running.client.put("/v1/adapters/new", content=packed(9) + b"x").status_code == 413
        assert running.client.put("/v1/tags/new:a", content=packed(9)).status_code == 413


@pytest.mark.parametrize("error, status", [
    (StoreBusyError, 503), (StoreFullError, 507), (StoreDamagedError, 500), (ZeroDivisionError, 500),
])  # fmt: skip
def test_trouble_of_the_store_is_the_servers(open_to_all, store, monkeypatch, error, status, caplog):
    def fail(*_, **__):
        raise error("trouble")

    monkeypatch.setattr(store, "add", fail)
    answer = open_to_all.client.put("/v1/adapters/new", content=packed(9))
    assert answer.status_code == status
    assert ("retry-after" in answer.headers) == (status == 503)
    assert ("trouble" in answer.text) == (error is not ZeroDivisionError)
    counted = f'nolakit_http_requests_total{{method="PUT",route="/v1/adapters/{{name:path}}",status="{status}"}} 1.0'
    assert counted in open_to_all.client.get("/metrics").text
