"""uvicorn with what it lacks: a time limit for the head of a request and for clients that do not read, a word when it
is ready, and an end that tells clients of itself."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from nolakit.errors import ConfigError
from nolakit.http.served import Served

HEAD_SECONDS = 20.0
MOST_CONNECTIONS = 1024
DRAIN_SECONDS = 20
FLUSH_SECONDS = 5.0  # for a connection that is closed to take what was written to it


class PatientProtocol(H11Protocol):
    """HTTP/1.1 on one connection, which is closed where the head of a request does not come in time.

    uvicorn 0.54 waits for ever for the first head and for a half one.
    """

    head_seconds = HEAD_SECONDS
    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self.app_state = {
            **self.app_state,
            "abort": transport.abort,
        }  # for whoever waits for this client in vain
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._rest()

    def _watch(self) -> None:
        """Start the clock where a head is awaited, stop it where a request is being answered."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._rest()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(self.head_seconds, self._close_if_no_head)

    def _rest(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self.loop.call_later(FLUSH_SECONDS, self.transport.abort)

    def _close_if_no_head(self) -> None:
        self._waiting = None
        self.transport.close()
        self.loop.call_later(FLUSH_SECONDS, self.transport.abort)


class Server(uvicorn.Server):
    """A server of one app.

    Args:
        served: what the app serves.
        ready: called when requests are taken.
        drain_seconds: that requests under way have at the end, before they are cancelled.
    """

    def __init__(
        self,
        app: Any,
        served: Served,
        *,
        ready: Callable[[], None] = lambda: None,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        config = uvicorn.Config(
            app, http=PatientProtocol, ws="none", lifespan="on", loop="asyncio", log_config=None, access_log=False,
            server_header=False, proxy_headers=False, limit_concurrency=MOST_CONNECTIONS, timeout_keep_alive=30,
            timeout_graceful_shutdown=int(drain_seconds + FLUSH_SECONDS),
        )  # fmt: skip
        super().__init__(config)
        self._served, self._ready, self._drain_seconds = served, ready, drain_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        ending = asyncio.get_running_loop().call_later(self._drain_seconds, self._served.cancel_all)
        try:
            await super().shutdown(sockets)
        finally:
            ending.cancel()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises ConfigError where there is none to be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
            made.listen(2048)
        except BaseException:
            made.close()
            raise
        return made
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"found no way to listen on {host}:{port}: {error}; expected a free port of this machine"
        ) from error


def address_of(listening: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(server: Server, listening: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, or until `server.should_exit`; then nothing new is taken, what is under way
    ends, and this returns."""
    if threading.current_thread() is not threading.main_thread():
        server.run(sockets=[listening])
        return
    before = {  # uvicorn raises the signal again when it is done, which would end the process
        number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        server.run(sockets=[listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
