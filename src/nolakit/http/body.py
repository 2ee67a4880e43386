"""Bodies are of bounded size and come in bounded time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nolakit.http.failures import HttpError, response

LINGER_SECONDS = 1.0
LINGER_BYTES = 1 << 20


class BodyLimit:
    """Middleware: answers 413 and 408. What is announced too large is not read; what is not announced, up to the limit.

    Args:
        most_bytes: of a body.
        most_upload_bytes: of an adapter's.
        seconds: from the first byte of the body that is waited for to the last.
    """

    def __init__(self, app: ASGIApp, *, most_bytes: int, most_upload_bytes: int, seconds: float) -> None:
        self._app, self._most_bytes, self._most_upload_bytes = app, most_bytes, most_upload_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        upload = scope["method"] == "PUT" and scope["path"].startswith("/v1/adapters/")
        most = self._most_upload_bytes if upload else self._most_bytes
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced[:20]) > most:
            await _refuse(_too_large(most), scope, receive, send)
            return
        reading = _Reading(receive, most, self._seconds)
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            if reading.failed is None:
                started = started or message["type"] == "http.response.start"
                await send(message)

        with suppress(HttpError):  # whoever reads the body may also turn it into an answer, which is dropped
            await self._app(scope, reading, sending)
        if reading.failed is not None and not started:
            await _refuse(reading.failed, scope, receive, send)


class _Reading:
    """`receive` with a limit and a clock."""

    def __init__(self, receive: Receive, most: int, seconds: float) -> None:
        self._receive, self._most, self._seconds = receive, most, seconds
        self._read, self._whole = 0, False
        self._deadline: float | None = None
        self.failed: HttpError | None = None

    async def __call__(self) -> Message:
        if self._whole:  # what comes now is that the client has gone
            return await self._receive()
        if self.failed is not None:
            raise self.failed
        loop = asyncio.get_running_loop()
        self._deadline = loop.time() + self._seconds if self._deadline is None else self._deadline
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError as error:
            text = f"found a body that was not whole after {self._seconds:g} s; send it faster"
            self.failed = HttpError(408, "request_timeout", text)
            raise self.failed from error
        self._read += len(message.get("body", b""))
        if self._read > self._most:
            self.failed = _too_large(self._most)
            raise self.failed
        self._whole = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message


def _too_large(most: int) -> HttpError:
    return HttpError(413, "body_too_large", f"found a body of more than {most:,} bytes; send less at once")


async def _refuse(error: HttpError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer, then take what is on its way: a connection that is closed on unread bytes can lose the answer."""
    answer = response(error)
    answer.headers["Connection"] = "close"

    async def keep_open(message: Any) -> None:
        await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

    await answer(scope, receive, keep_open)
    left = LINGER_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while left > 0:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    break
                left -= len(message.get("body", b""))
    await send({"type": "http.response.body", "body": b"", "more_body": False})
