"""What goes wrong, as HTTP says it: one table, and OpenAI's form of an error."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nolakit import errors

log = logging.getLogger("nolakit.http")
RETRY_SECONDS = 1
TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


@dataclass(frozen=True)
class Row:
    """Status, OpenAI's code, and whether a client should come again."""

    status: int
    code: str
    again: bool = False


TABLE: tuple[tuple[type[Exception], Row], ...] = (  # the first that fits
    (errors.EntryNotFoundError, Row(404, "model_not_found")),
    (errors.StoreNameError, Row(400, "invalid_name")),
    (errors.QueueFullError, Row(503, "queue_full", again=True)),
    (errors.EngineClosedError, Row(503, "shutting_down", again=True)),
    (errors.StoreBusyError, Row(503, "store_busy", again=True)),
    (errors.PinnedError, Row(409, "in_use", again=True)),
    (errors.StoreReadOnlyError, Row(403, "store_read_only")),
    (errors.StoreFullError, Row(507, "store_full")),
    (errors.StoreError, Row(500, "store_damaged")),
    (errors.RequestError, Row(400, "invalid_request")),
    (errors.BaseMismatchError, Row(400, "other_base")),
    (errors.AdapterError, Row(400, "invalid_adapter")),
    (errors.UnsupportedError, Row(400, "unsupported")),
    (errors.ConfigError, Row(400, "invalid_request")),
)


class HttpError(errors.NolakitError):
    """An answer other than success that HTTP's own rules ask for."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.retry_after = status, code, param, retry_after


def body(status: int, code: str, message: str, param: str | None = None) -> dict[str, Any]:
    """An error in OpenAI's form."""
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def described(error: BaseException) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers of an error. What nobody foresaw says nothing of itself."""
    if isinstance(error, HttpError):
        headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
        headers |= {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
        return error.status, body(error.status, error.code, str(error), error.param), headers
    for kind, row in TABLE:
        if isinstance(error, kind):
            param = "model" if row.code == "model_not_found" else None
            headers = {"Retry-After": str(RETRY_SECONDS)} if row.again else {}
            return row.status, body(row.status, row.code, str(error), param), headers
    return 500, body(500, "internal_error", f"found an unexpected {type(error).__name__}; the log has it"), {}


def response(error: BaseException) -> JSONResponse:
    """An error as an answer."""
    status, content, headers = described(error)
    return JSONResponse(content, status, headers)


class Unforeseen:
    """Middleware: logs what nothing else answers, and answers 500, after which the connection can be used on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:
            if started or scope["type"] != "http":
                raise
            log.exception("found an unexpected error at %s %s", scope["method"], scope["path"])
            await response(error)(scope, receive, send)
