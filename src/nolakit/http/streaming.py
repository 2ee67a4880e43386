"""Answers to clients that may leave or stop reading."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from nolakit.http.failures import HttpError, described

WRITE_SECONDS = 60.0  # a client that reads nothing for so long has left
T = TypeVar("T")


class _Gone(Exception):
    """The client does not read."""


async def unless_gone(request: Request, work: Awaitable[T], leave: Callable[[], None]) -> T:
    """Wait for work, and call `leave` where the client goes before. Raises HttpError 499, which nobody sees."""
    task, gone = asyncio.ensure_future(work), asyncio.create_task(_disconnected(request.receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise HttpError(499, "client_left", "found the client gone")
    finally:
        if not task.done():
            leave()
            task.cancel()
        gone.cancel()


class EventStream(Response):
    """Server-sent events, one JSON object each, then `[DONE]`.

    Args:
        events: the objects. What they raise is sent as a last event, in OpenAI's form of an error.
        leave: called at the end, at the latest where the client has gone or does not read for `write_seconds`.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncIterator[dict[str, Any]],
        leave: Callable[[], None],
        *,
        write_seconds: float = WRITE_SECONDS,
    ) -> None:
        self._events, self._leave, self._write_seconds = events, leave, write_seconds
        self.background = None
        self.status_code = 200
        self.init_headers({"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writing, gone = asyncio.create_task(self._write(send)), asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({writing, gone}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                writing.result()
        except _Gone:
            scope.get("state", {}).get("abort", lambda: None)()  # closing would wait for the client to read
        finally:
            self._leave()
            for task in (writing, gone):
                task.cancel()
            await asyncio.gather(writing, gone, return_exceptions=True)

    async def _write(self, send: Send) -> None:
        await self._send(send, {"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async for event in self._events:
                await self._data(send, json.dumps(event, separators=(",", ":")))
            await self._data(send, "[DONE]")
        except _Gone:
            return
        except Exception as error:
            await self._data(send, json.dumps(described(error)[1]))
        await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False})

    async def _data(self, send: Send, text: str) -> None:
        event = f"data: {text}\n\n".encode()
        await self._send(send, {"type": "http.response.body", "body": event, "more_body": True})

    async def _send(self, send: Send, message: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(self._write_seconds):
                await send(message)
        except OSError as error:  # of which TimeoutError is one
            raise _Gone from error


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
