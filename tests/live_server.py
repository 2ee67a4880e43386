"""The real server on the loopback, in a thread of the test."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2
from openai import OpenAI

from nolakit.http import server
from nolakit.http.app import Bounds, make_app
from nolakit.http.keys import Keys
from nolakit.http.metrics import Metrics
from nolakit.http.served import Served


class Live:
    """A running server: `client` speaks HTTP to it, `openai` as OpenAI's own package does."""

    def __init__(self, url: str, served: Served, running: server.Server) -> None:
        self.url, self.served, self.server = url, served, running
        self.client = httpx2.Client(base_url=url, timeout=30)
        self._clients: dict[str, OpenAI] = {}

    @property
    def openai(self) -> OpenAI:
        return self.openai_as("none")

    def openai_as(self, key: str) -> OpenAI:
        if key not in self._clients:
            self._clients[key] = OpenAI(base_url=self.url + "/v1", api_key=key, max_retries=0, timeout=30)
        return self._clients[key]

    def close(self) -> None:
        self.client.close()
        for client in self._clients.values():
            client.close()

    def post(self, path: str, **body: Any) -> Any:
        return self.client.post(path, json=body)

    def raw(self, data: bytes = b"") -> socket.socket:
        """A connection of one's own."""
        parts = urlsplit(self.url)
        assert parts.hostname and parts.port
        made = socket.create_connection((parts.hostname, parts.port), timeout=30)
        made.sendall(data)
        return made


def request_bytes(path: str, body: dict[str, Any]) -> bytes:
    """A POST as bytes."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


@contextmanager
def live(
    served: Served, metrics: Metrics | None = None, *, keys: Keys | None = None, admin: bool = False,
    bounds: Bounds | None = None, drain_seconds: float = 5,
) -> Iterator[Live]:  # fmt: skip
    """Serve until the block ends."""
    app = make_app(served, metrics or Metrics(), keys=keys, admin=admin, bounds=bounds)
    ready = threading.Event()
    listening = server.listen("127.0.0.1", 0)
    running = server.Server(app, served, ready=ready.set, drain_seconds=drain_seconds)
    thread = threading.Thread(target=server.run, args=(running, listening))
    thread.start()
    try:
        assert ready.wait(30)
        made = Live(server.address_of(listening), served, running)
        try:
            yield made
        finally:
            made.close()
    finally:
        running.should_exit = True
        thread.join(30)
        served.close()
        listening.close()
        assert not thread.is_alive()
