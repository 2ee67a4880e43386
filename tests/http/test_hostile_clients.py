"""Clients that send too much, too slowly, nonsense, or leave: each gets its answer, and nobody else notices."""

from __future__ import annotations

import contextlib
import json
import threading

import httpx2
import pytest

from live_server import live, request_bytes
from nolakit.http import server
from nolakit.http.app import Bounds

ENOUGH = {"model": "base", "prompt": "hello", "max_tokens": 5}


def assert_still_serves(running):
    answer = running.post("/v1/completions", **ENOUGH)
    assert (answer.status_code, answer.json()["choices"][0]["text"]) == (200, "hello")


def received(connection, until: bytes = b"") -> bytes:
    """What comes until the server closes, or until something has come."""
    data = b""
    while not (until and until in data):
        try:
            part = connection.recv(65536)
        except ConnectionResetError:
            break
        if not part:
            break
        data += part
    return data


@pytest.mark.parametrize("status, change, message", [
    (404, {"model": "nothing"}, "no adapter named 'nothing'"),
    (400, {"model": "../../etc/passwd"}, "found the name"),
    (400, {"model": "/etc/passwd"}, "found the name"),
    (400, {"model": "a\u0000b"}, "found the name"),
    (400, {"model": "sha256:12"}, "64 hexadecimal digits"),
    (404, {"model": "sha256:" + "0" * 64}, "no adapter"),
    (404, {"model": "team/one@9"}, "versions 1, 2"),
    (404, {"model": "team/one:worst"}, "tags: best"),
    (400, {"model": ""}, "at least 1 character"),
    (400, {"model": 3}, "valid string"),
    (400, {"model": None}, "valid string"),
    (400, {"prompt": "x" * 5000}, "prompt of 5000 tokens"),
    (400, {"prompt": "x" * 1_000_000}, "found a text of 1,000,000 characters"),
    (400, {"prompt": ["x", "y" * 1_000_000]}, "found a text of 1,000,000 characters"),
    (400, {"prompt": ""}, "prompt of 0 tokens"),
    (400, {"prompt": []}, "none empty"),
    (400, {"prompt": [[]]}, "none empty"),
    (400, {"prompt": [1, "a"]}, "none empty"),
    (400, {"prompt": [1, 2.5]}, "none empty"),
    (400, {"prompt": [-1]}, "none empty"),
    (400, {"prompt": [True]}, "none empty"),
    (400, {"prompt": [300]}, "token 300"),
    (400, {"prompt": {"a": 1}}, "none empty"),
    (400, {"prompt": ["a"] * 65, "n": 2}, "65 prompts with n=2"),
    (400, {"temperature": "1"}, "temperature"),
    (400, {"temperature": -1}, "temperature"),
    (400, {"top_p": 0}, "top_p"),
    (400, {"top_k": -1}, "top_k"),
    (400, {"max_tokens": 0}, "max_tokens"),
    (400, {"max_tokens": True}, "max_tokens"),
    (400, {"n": 0}, "n"),
    (400, {"n": 129}, "n"),
    (400, {"seed": -1}, "seed"),
    (400, {"seed": 1 << 63}, "seed"),
    (400, {"stop": [""]}, "1 to 256 characters"),
    (400, {"stop": ["a"] * 5}, "at most 4"),
    (400, {"logprobs": 21}, "logprobs"),
    (400, {"stream": "yes"}, "stream"),
    (400, {"stream_options": {"include_usage": True}}, "without stream=true"),
    (400, {"echo": True}, "'echo', which this server does not support"),
    (400, {"best_of": 2}, "'best_of'"),
    (400, {"suffix": "x"}, "'suffix'"),
    (400, {"logit_bias": {"1": 5}}, "'logit_bias'"),
    (400, {"presence_penalty": 0.5}, "'presence_penalty'"),
    (400, {"frequency_penalty": False}, "'frequency_penalty'"),
    (400, {"temprature": 1}, "unknown option 'temprature'"),
    (400, {"stream": True, "stream_options": {"include_obfuscation": True}}, "'include_obfuscation'"),
])  # fmt: skip
def test_bad_input_is_refused_by_name(shared, status, change, message):
    answer = shared.post("/v1/completions", **{**ENOUGH, **change})
    assert answer.status_code == status
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert message in error["message"]


def test_options_at_their_defaults_are_no_options(shared):
    answer = shared.post(
        "/v1/completions", **ENOUGH, echo=False, best_of=1, suffix=None, logit_bias={}, presence_penalty=0.0,
        frequency_penalty=0, user="someone", logprobs=None, stop=None, n=None, stream=None, temperature=None,
    )  # fmt: skip
    assert answer.status_code == 200
    answer = shared.post(
        "/v1/chat/completions", model="base", messages=[{"role": "user", "content": "x", "name": None}], max_tokens=2,
        tools=[], tool_choice="none", response_format={"type": "text"}, store=False, service_tier="auto",
    )  # fmt: skip
    assert answer.status_code == 200


@pytest.mark.parametrize("data", [
    b"", b"{", b"[]", b"null", b"3", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000,
    b'{"model": "base", "prompt": "x", "temperature": NaN}', b'{"model": "base", "prompt": "x", "temperature": 1e999}',
    b'{"model": "base", "prompt": "\\ud800"}', b'{"model": "\\ud800", "prompt": "x"}',
    b'{"model": "base", "prompt": ["\\udfff"]}', b'{"model": "base", "prompt": "x", "stop": "\\ud800"}',
    b'{"model": "base", "prompt": "x", "\\ud800": 1}',
    b'{"model": "base", "prompt": "x", "seed": 1' + b"0" * 5000 + b"}",
    b'{"model": "base", "prompt": [1' + b"0" * 5000 + b"]}",
    b"{" + b",".join(b'"k%d":0' % i for i in range(100_000)) + b"}",
    b'{"model": "base", "prompt": [' + b"0.5," * 500_000 + b"1]}",
], ids=range(20))  # fmt: skip
def test_bodies_that_are_no_request(shared, data):
    for path in ("/v1/completions", "/v1/chat/completions"):
        answer = shared.client.post(path, content=data, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
        assert answer.json()["error"]["message"]
        assert len(answer.content) < 2000


@pytest.mark.parametrize("messages", [
    [], "x", [3] * 100_000, [{}], [{"role": "user"}], [{"role": "robot", "content": "x"}],
    [{"role": "user", "content": None}], [{"role": "user", "content": 3}],
    [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
    [{"role": "user", "content": "x", "tool_calls": [{"id": "1"}]}], [{"role": "tool", "content": "x"}],
    [{"role": "user", "content": "x" * 5000}], [{"role": "user", "content": "x" * 1_000_000}],
    [{"role": "user", "content": ""}] * 5000, [{"role": "user", "content": [{"type": "text", "text": ""}] * 5000}],
])  # fmt: skip
def test_messages_that_are_none(shared, messages):
    answer = shared.post("/v1/chat/completions", model="base", messages=messages)
    assert answer.status_code == 400
    assert len(answer.content) < 2000


def test_paths_and_methods_that_there_are_not(shared):
    for method, path, status in (
        ("GET", "/v1/nothing", 404), ("GET", "/v1/completions", 405), ("DELETE", "/v1/models/base", 405),
        ("GET", "/v1/models/..%2f..%2fetc%2fpasswd", 400), ("GET", "/v1/models/nothing", 404), ("GET", "/docs", 404),
        ("GET", "/v1/models?limit=0", 400), ("GET", "/v1/models?limit=x", 400), ("POST", "/v1/embeddings", 404),
    ):  # fmt: skip
        answer = shared.client.request(method, path)
        assert answer.status_code == status, path
        assert answer.json()["error"]["message"]


def test_ten_megabytes_are_refused_unread(shared):
    answer = shared.client.post("/v1/completions", content=b"x" * 10_000_000)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n"
    with shared.raw(head) as connection:  # of the body nothing was sent
        assert received(connection, b"body_too_large").startswith(b"HTTP/1.1 413 ")
    assert_still_serves(shared)


def test_ten_megabytes_of_no_announced_length_are_refused_on_the_way(shared):
    sent = 0

    def parts():
        nonlocal sent
        for _ in range(160):
            sent += 65536
            yield b" " * 65536

    with contextlib.suppress(httpx2.TransportError):
        answer = shared.client.post("/v1/completions", content=parts())
        assert answer.status_code == 413
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with shared.raw(head) as connection:
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        for _ in range((4 << 20) // 65536 + 1):
            connection.sendall(chunk)
        assert received(connection, b"body_too_large").startswith(b"HTTP/1.1 413 ")
    assert_still_serves(shared)


def test_a_length_that_is_a_lie(shared):
    data = json.dumps(ENOUGH).encode()
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with shared.raw(head % (len(data) - 3) + data) as connection:
        assert b"HTTP/1.1 400 " in received(connection, b"invalid_request")
    with shared.raw(head % (len(data) + 3) + data):
        pass  # and gone
    assert_still_serves(shared)


def test_a_body_that_does_not_come_ends_with_408(served, metrics):
    with live(served, metrics, bounds=Bounds(read_seconds=0.2)) as running:
        data = request_bytes("/v1/completions", ENOUGH)
        with running.raw(data[:-3]) as connection:
            assert received(connection).startswith(b"HTTP/1.1 408 ")
        assert_still_serves(running)


def test_a_head_that_does_not_come_ends_the_connection(served, metrics, monkeypatch):
    monkeypatch.setattr(server.PatientProtocol, "head_seconds", 0.2)
    with live(served, metrics) as running:
        with running.raw() as silent, running.raw(b"POST /v1/comp") as half:
            assert received(silent) == b""
            assert received(half) == b""
        data = request_bytes("/v1/completions", ENOUGH)
        with running.raw(data) as connection:  # a head after an answer is awaited as long
            assert b"200 OK" in received(connection, b"usage")
            connection.sendall(b"GET /hea")
            received(connection)
        assert_still_serves(running)


def test_whoever_leaves_is_cancelled(running, engine):
    engine.hold()
    for body in (ENOUGH, {**ENOUGH, "stream": True}, {**ENOUGH, "n": 3}):
        connection = running.raw(
            request_bytes("/v1/completions", {**body, "prompt": "leaving", "max_tokens": 4000})
        )
        engine.wait_for(lambda engine: engine.waiting)
        connection.close()
        engine.wait_for(lambda engine: not engine.waiting)
    assert len(engine.cancelled) == 5
    engine.go()
    assert_still_serves(running)


def test_whoever_leaves_while_the_request_is_being_queued_is_cancelled(running, engine):
    engine.submitting.clear()
    with running.raw(request_bytes("/v1/completions", {**ENOUGH, "prompt": "leaving", "max_tokens": 4000})):
        pass
    engine.hold()
    engine.submitting.set()
    engine.wait_for(lambda engine: engine.cancelled)
    engine.go()
    assert_still_serves(running)


def test_a_stream_whose_client_does_not_read_holds_nobody_up_and_is_cancelled(served, metrics, engine):
    engine.max_length = 10_000_000
    body = {**ENOUGH, "prompt": "slow", "max_tokens": 9_000_000, "stream": True}
    with live(served, metrics, bounds=Bounds(write_seconds=0.5)) as running:
        with running.raw(request_bytes("/v1/completions", body)) as connection:
            received(connection, b"data:")
            for _ in range(5):
                assert_still_serves(running)
            engine.wait_for(lambda engine: engine.cancelled, 60)
            assert b"[DONE]" not in received(connection)
        assert_still_serves(running)


def test_a_full_queue_says_when_to_come_again(running, engine):
    engine.hold()
    body = request_bytes("/v1/completions", {**ENOUGH, "n": 64, "prompt": "many"})
    with running.raw(body):
        engine.wait_for(lambda engine: engine.waiting == 64)
        answer = running.post("/v1/completions", **ENOUGH)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["error"]["code"] == "queue_full"
        part = running.post("/v1/completions", **{**ENOUGH, "n": 2})
        assert part.status_code == 503
    engine.wait_for(lambda engine: not engine.waiting)
    some = request_bytes("/v1/completions", {**ENOUGH, "n": 60, "prompt": "some"})
    with running.raw(some):
        engine.wait_for(lambda engine: engine.waiting == 60)
        assert (
            running.post("/v1/completions", **{**ENOUGH, "n": 10, "prompt": "all or none"}).status_code == 503
        )
        engine.wait_for(lambda engine: engine.waiting == 60)
    engine.go()
    assert_still_serves(running)


def test_a_store_that_is_slow_does_not_hold_up_the_event_loop(running, engine):
    engine.submitting.clear()
    try:
        with running.raw(request_bytes("/v1/completions", ENOUGH)):
            assert running.client.get("/health").status_code == 200
    finally:
        engine.submitting.set()


def test_an_error_in_a_stream_is_its_last_event(running, engine):
    engine.hold(steps=2)
    with running.client.stream("POST", "/v1/completions", json={**ENOUGH, "stream": True}) as answer:
        lines = answer.iter_lines()
        assert json.loads(next(lines).removeprefix("data: "))["choices"][0]["text"] == "h"
        threading.Thread(target=engine.close).start()
        rest = [line for line in lines if line]
    assert json.loads(rest[-1].removeprefix("data: "))["error"]["code"] == "shutting_down"
    answer = running.post("/v1/completions", **ENOUGH)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_requests_that_take_too_long_at_the_end_are_told_so(served, metrics, engine):
    with live(served, metrics, drain_seconds=0) as running:
        engine.hold(steps=2)
        whole = running.raw(request_bytes("/v1/completions", ENOUGH))
        engine.wait_for(lambda engine: engine.running)
        with (
            whole,
            running.client.stream("POST", "/v1/completions", json={**ENOUGH, "stream": True}) as answer,
        ):
            running.server.should_exit = True
            lines = [line for line in answer.iter_lines() if line]
            assert received(whole).startswith(b"HTTP/1.1 503 ")
    assert json.loads(lines[-1].removeprefix("data: "))["error"]["code"] == "shutting_down"
    assert len(engine.cancelled) == 2


def test_requests_finish_before_the_server_ends(served, metrics, engine):
    with live(served, metrics, drain_seconds=20) as running:
        engine.hold(steps=1)
        with running.client.stream("POST", "/v1/completions", json={**ENOUGH, "stream": True}) as answer:
            lines = (line for line in answer.iter_lines() if line)
            next(lines)
            running.server.should_exit = True
            engine.go()
            assert list(lines)[-1] == "data: [DONE]"
    assert engine.cancelled == []


def test_an_error_of_one_choice_ends_the_others(running, engine, monkeypatch):
    engine.hold()
    submit = engine.submit

    def failing(prompt, adapter=None, sampling=None, *, on_event):
        return submit(prompt, adapter, sampling, on_event=broken(on_event) if len(prompt) == 1 else on_event)

    def broken(on_event):
        return lambda event: on_event(RuntimeError("broken"))

    monkeypatch.setattr(engine, "submit", failing)
    engine.go()
    answer = running.post("/v1/completions", model="base", prompt=["x", "long"], max_tokens=4000)
    assert answer.status_code == 500
    assert "broken" not in answer.text
    engine.wait_for(lambda engine: not engine.running)
    assert running.served.encode("long") in engine.cancelled
