"""The application: its routes, what stands before them, and its errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from nolakit.errors import NolakitError
from nolakit.http.access import Access
from nolakit.http.body import BodyLimit
from nolakit.http.failures import HttpError, Unforeseen, log, response
from nolakit.http.history import History
from nolakit.http.keys import Keys
from nolakit.http.metrics import Counting, Metrics
from nolakit.http.routes import ERRORS, encoding_routes, generation_routes, model_routes, watching_routes
from nolakit.http.served import Served


@dataclass(frozen=True)
class Bounds:
    """What clients may take of the server.

    most_bytes, most_upload_bytes: of a body, of an adapter's.
    read_seconds: for a body to come.
    write_seconds: for a client of a stream to read on.
    sample_seconds: between two samples of the status page.
    """

    most_bytes: int = 4 << 20
    most_upload_bytes: int = 64 << 20
    read_seconds: float = 30.0
    write_seconds: float = 60.0
    sample_seconds: float = 2.0


def make_app(
    served: Served,
    metrics: Metrics,
    *,
    keys: Keys | None = None,
    admin: bool = False,
    bounds: Bounds | None = None,
) -> FastAPI:
    """The application of one base.

    Args:
        metrics: the observer that the engine or encoder was made with.
        keys: None lets everybody in.
        admin: without keys, let everybody add, retire and tag adapters.
    """
    bounds = bounds or Bounds()
    metrics.watch(served.stats)
    history = History(served.stats, metrics.take_first_tokens)
    middleware = [
        Middleware(Counting, metrics=metrics),
        Middleware(Unforeseen),
        Middleware(Access, keys=keys, admin=admin),
        Middleware(
            BodyLimit, most_bytes=bounds.most_bytes, most_upload_bytes=bounds.most_upload_bytes,
            seconds=bounds.read_seconds,
        ),
    ]  # fmt: skip

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sampling = asyncio.create_task(_sample(served, history, bounds.sample_seconds))
        yield
        sampling.cancel()
        with suppress(asyncio.CancelledError):
            await sampling

    app = FastAPI(
        title="nolakit",
        version=version("nolakit"),
        description="OpenAI's interface over one base model and many adapters.",
        lifespan=lifespan,
        middleware=middleware,
        docs_url=None,
        redoc_url=None,
        responses=ERRORS,
    )
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(NolakitError, _failed)
    if served.task == "causal-lm":
        app.include_router(generation_routes(served, bounds.write_seconds))
    else:
        app.include_router(encoding_routes(served))
    app.include_router(model_routes(served))
    app.include_router(watching_routes(served, metrics, history))
    _without_422(app)
    return app


async def _sample(served: Served, history: History, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await served.in_thread(history.sample)
        except Exception:
            log.exception("found no way to take a sample for the status page")


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """What pydantic found first, in OpenAI's form."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = [str(part) for part in first["loc"][1:] if not str(part).startswith("function-")]
    param = ".".join(where)[:200] or None
    text = first["msg"].removeprefix("Value error, ")[:500]
    return response(HttpError(400, "invalid_request", f"{param}: {text}" if param else text, param=param))


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    codes = {404: "not_found", 405: "method_not_allowed"}
    refused = response(
        HttpError(error.status_code, codes.get(error.status_code, "invalid_request"), str(error.detail))
    )
    refused.headers.update(error.headers or {})
    return refused


async def _failed(_: Request, error: Exception) -> JSONResponse:
    return response(error)


def _without_422(app: FastAPI) -> None:
    """FastAPI documents 422 wherever something is validated; here that is 400."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        for path in document["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        return document

    app.openapi = openapi
