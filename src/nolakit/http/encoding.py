"""Embeddings and classifications."""

from __future__ import annotations

import asyncio
import base64
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from nolakit.errors import QueueFullError, RequestError
from nolakit.http.access import adapter_of, key_of
from nolakit.http.answers import Classification, Classified, Embedding, Embeddings, Usage
from nolakit.http.prompting import encode_inputs
from nolakit.http.schema import MOST_INPUTS, ClassifyRequest, EmbeddingRequest
from nolakit.http.served import Served
from nolakit.http.streaming import unless_gone

AT_ONCE = 16  # inputs of one HTTP request in the encoder's queue
Submit = Callable[[Sequence[int], str | None], "Future[Any]"]


async def embed(served: Served, request: EmbeddingRequest, http: Request) -> Response:
    """Answer POST /v1/embeddings."""
    vectors, _, usage = await _encoded(served, request, http, served.encoder.embed)
    as_text = request.encoding_format == "base64"
    data = [
        Embedding(index=index, embedding=_base64(vector) if as_text else vector.tolist())
        for index, vector in enumerate(vectors)
    ]
    return JSONResponse(Embeddings(model=request.model, data=data, usage=usage).model_dump())


async def classify(served: Served, request: ClassifyRequest, http: Request) -> Response:
    """Answer POST /v1/classify."""
    rows, adapter, usage = await _encoded(served, request, http, served.encoder.classify)
    logits = [row.tolist() for row in rows]
    labels = await served.in_thread(_labels, served, adapter, len(logits[0]))
    data = [_classified(index, row, labels) for index, row in enumerate(logits)]
    return JSONResponse(Classification(model=request.model, data=data, usage=usage).model_dump())


async def _encoded(
    served: Served, request: EmbeddingRequest | ClassifyRequest, http: Request, submit: Submit
) -> tuple[list[Any], str | None, Usage]:
    """What the encoder gives for each input, the adapter, and the tokens."""

    def prepare() -> tuple[str | None, list[list[int]]]:
        adapter = adapter_of(served, key_of(http), request.model)
        inputs = encode_inputs(served, request.input)
        if len(inputs) > MOST_INPUTS:
            raise RequestError(
                f"found {len(inputs):,} inputs; expected at most {MOST_INPUTS:,} of one request"
            )
        return adapter, inputs

    adapter, inputs = await unless_gone(http, served.in_thread(prepare), lambda: None)
    under_way: list[Future[Any]] = []

    def leave() -> None:
        for future in under_way:
            future.cancel()

    try:
        found = await unless_gone(http, _through(served, submit, adapter, inputs, under_way), leave)
    finally:
        leave()
    tokens = sum(map(len, inputs))
    return found, adapter, Usage(prompt_tokens=tokens, total_tokens=tokens)


async def _through(
    served: Served, submit: Submit, adapter: str | None, inputs: list[list[int]], under_way: list[Future[Any]]
) -> list[Any]:
    """Results in the order of the inputs, a few of which are in the queue at once. A full queue is waited for while
    inputs of this request are in it."""
    results: list[Any] = []
    next_input = 0

    def fill() -> None:
        nonlocal next_input
        while next_input < len(inputs) and next_input - len(results) < AT_ONCE:
            try:
                under_way.append(submit(inputs[next_input], adapter))
            except QueueFullError:
                if next_input == len(results):
                    raise
                return
            next_input += 1

    while len(results) < len(inputs):
        await served.in_thread(fill)
        results.append(await asyncio.wrap_future(under_way[len(results)]))
    return results


def _base64(vector: Any) -> str:
    return base64.b64encode(vector.cpu().numpy().astype("<f4").tobytes()).decode()


def _labels(served: Served, adapter: str | None, count: int) -> Sequence[str]:
    """Names of an adapter's labels: of its training's record, of the base, or numbers."""
    record = served.store.get(adapter).record if adapter is not None else None
    for names in ((record or {}).get("labels"), served.labels):
        if isinstance(names, list | tuple) and len({*map(str, names)}) == len(names) == count:
            return [str(name) for name in names]
    return [f"LABEL_{index}" for index in range(count)]


def _classified(index: int, logits: list[float], labels: Sequence[str]) -> Classified:
    most = max(logits)
    weights = [math.exp(value - most) for value in logits]
    probabilities = {label: weight / sum(weights) for label, weight in zip(labels, weights, strict=True)}
    return Classified(
        index=index, label=labels[logits.index(most)], probabilities=probabilities, logits=logits
    )
