"""Routes: where a request goes, and what the OpenAPI document says of it."""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import HTMLResponse

from nolakit.http import adapters, answers, schema
from nolakit.http.access import check_admin, key_of
from nolakit.http.chat import chat
from nolakit.http.completions import complete
from nolakit.http.encoding import classify, embed
from nolakit.http.history import History
from nolakit.http.metrics import Metrics
from nolakit.http.served import Served
from nolakit.http.status import PAGE, status

Ref = Annotated[str, Path(max_length=300)]
ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": answers.ErrorAnswer}
    for code in (400, 401, 403, 404, 405, 408, 409, 413, 429, 499, 500, 503, 507)
}
STREAM = {"text/event-stream": {"schema": {"type": "string"}}}
CSP = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"
_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def generation_routes(served: Served, write_seconds: float) -> APIRouter:
    """Completions and chat. write_seconds: for a client of a stream to read on."""
    router = APIRouter()

    @router.post("/v1/completions", response_model=None, responses=_answer(answers.Completion, streamed=True))
    async def post_completions(body: schema.CompletionRequest, request: Request) -> Response:
        return await complete(served, body, request, write_seconds)

    @router.post("/v1/chat/completions", response_model=None, responses=_answer(answers.Chat, streamed=True))
    async def post_chat_completions(body: schema.ChatRequest, request: Request) -> Response:
        return await chat(served, body, request, write_seconds)

    return router


def encoding_routes(served: Served) -> APIRouter:
    """Embeddings or classification."""
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


def model_routes(served: Served) -> APIRouter:
    """Models, and adapters that come and go."""
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


def watching_routes(served: Served, metrics: Metrics, history: History) -> APIRouter:
    """Health, metrics and the status page."""
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


def _answer(model: type, *, streamed: bool = False) -> dict[int | str, dict[str, Any]]:
    return {200: {"model": model, **({"content": STREAM} if streamed else {})}}
