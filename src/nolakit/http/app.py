"""The application: routes and what stands before them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from nolakit.errors import NolakitError
from nolakit.http import adapters, answers, schema
from nolakit.http.access import Access, check_admin, key_of
from nolakit.http.body import BodyLimit
from nolakit.http.chat import chat
from nolakit.http.completions import complete
from nolakit.http.encoding import classify, embed
from nolakit.http.failures import HttpError, Unforeseen, log, response
from nolakit.http.history import History
from nolakit.http.keys import Keys
from nolakit.http.metrics import Counting, Metrics
from nolakit.http.served import Served
from nolakit.http.status import PAGE, status

Ref = Annotated[str, Path(max_length=300)]
ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": answers.ErrorAnswer}
    for code in (400, 401, 403, 404, 405, 408, 409, 413, 429, 499, 500, 503, 507)
}
STREAM = {"text/event-stream": {"schema": {"type": "string"}}}


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
    app.include_router(_generation(served, bounds) if served.task == "causal-lm" else _encoding(served))
    app.include_router(_models(served))
    app.include_router(_watching(served, metrics, history))
    _without_422(app)
    return app


def _generation(served: Served, bounds: Bounds) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/completions", response_model=None, responses=_answer(answers.Completion, streamed=True))
    async def post_completions(body: schema.CompletionRequest, request: Request) -> Response:
        return await complete(served, body, request, bounds.write_seconds)

    @router.post("/v1/chat/completions", response_model=None, responses=_answer(answers.Chat, streamed=True))
    async def post_chat_completions(body: schema.ChatRequest, request: Request) -> Response:
        return await chat(served, body, request, bounds.write_seconds)

    return router


def _encoding(served: Served) -> APIRouter:
    router = APIRouter()
    if served.task == "embeddings":

        @router.post("/v1/embeddings", response_model=None, responses=_answer(answers.Embeddings))
        async def post_embeddings(body: schema.EmbeddingRequest, request: Request) -> Response:
            return await embed(served, body, request)

    else:

        @router.post("/v1/classify", response_model=None, responses=_answer(answers.Classification))
        async def post_classify(body: schema.ClassifyRequest, request: Request) -> Response:
            return await classify(served, body, request)

    return router


def _models(served: Served) -> APIRouter:
    router, created = APIRouter(), int(time.time())

    @router.get("/v1/models")
    async def list_models(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
        after: Annotated[str | None, Query(max_length=300)] = None,
    ) -> answers.Models:
        def page() -> answers.Models:
            return adapters.list_models(served, key_of(request), limit=limit, after=after, created=created)

        return await served.in_thread(page)

    @router.get("/v1/models/{model:path}")
    async def show_model(request: Request, model: Ref) -> answers.Model:
        return await served.in_thread(
            lambda: adapters.show_model(served, key_of(request), model, created=created)
        )

    @router.put("/v1/adapters/{name:path}", openapi_extra=_UPLOAD)
    async def put_adapter(
        request: Request,
        name: Ref,
        tag: Annotated[list[str], Query(max_length=16)] = [],  # noqa: B006
    ) -> answers.Model:
        check_admin(request)
        return await served.in_thread(adapters.add, served, name, await request.body(), tag)

    @router.delete("/v1/adapters/{ref:path}")
    async def delete_adapter(request: Request, ref: Ref) -> answers.Retired:
        check_admin(request)
        return await served.in_thread(adapters.retire, served, ref)

    @router.put("/v1/tags/{ref:path}")
    async def put_tag(request: Request, ref: Ref, body: schema.TagRequest | None = None) -> answers.Model:
        check_admin(request)
        return await served.in_thread(adapters.set_tag, served, ref, body.version if body else None)

    @router.delete("/v1/tags/{ref:path}")
    async def delete_tag(request: Request, ref: Ref) -> answers.Retired:
        check_admin(request)
        return await served.in_thread(adapters.remove_tag, served, ref)

    return router


def _watching(served: Served, metrics: Metrics, history: History) -> APIRouter:
    router = APIRouter()

    @router.get("/health")
    async def health() -> answers.Health:
        return answers.Health(model=served.name, version=version("nolakit"))

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics_text() -> Response:
        return Response(
            await served.in_thread(metrics.text), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    @router.get("/status.json")
    async def status_json(request: Request) -> dict[str, Any]:
        return await served.in_thread(status, served, history, key_of(request))

    @router.get("/", response_class=HTMLResponse)
    async def status_page() -> HTMLResponse:
        return HTMLResponse(
            PAGE, headers={"Content-Security-Policy": CSP, "X-Content-Type-Options": "nosniff"}
        )

    return router


CSP = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"
_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def _answer(model: type, *, streamed: bool = False) -> dict[int | str, dict[str, Any]]:
    return {200: {"model": model, **({"content": STREAM} if streamed else {})}}


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
