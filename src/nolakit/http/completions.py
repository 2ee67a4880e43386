"""Completions, streamed or whole."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from nolakit.http.access import adapter_of, key_of
from nolakit.http.answers import Completion, CompletionChoice, Usage
from nolakit.http.generating import Generation, Piece
from nolakit.http.logprobs import completion_logprobs
from nolakit.http.prompting import encode_inputs
from nolakit.http.schema import CompletionRequest, Generate
from nolakit.http.served import Served
from nolakit.http.streaming import EventStream, unless_gone
from nolakit.serve.sampling import Sampling

MAX_TOKENS = 16  # OpenAI's, where a completion does not say


async def complete(
    served: Served, request: CompletionRequest, http: Request, write_seconds: float
) -> Response:
    """Answer POST /v1/completions."""

    def start() -> None:
        adapter = adapter_of(served, key_of(http), request.model)
        sampling = sampling_of(request, request.max_tokens or MAX_TOKENS, request.logprobs)
        generation.prompts = encode_inputs(served, request.prompt)
        generation.start(adapter, sampling, request.n or 1, request.stop)

    generation = Generation(served)
    await unless_gone(http, served.in_thread(start), generation.cancel)
    head = {"id": f"cmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": request.model}
    head["system_fingerprint"] = generation.fingerprint
    if request.stream:
        events = _chunks(served, request, generation, {**head, "object": "text_completion"})
        return EventStream(events, generation.cancel, write_seconds=write_seconds)
    choices = await unless_gone(http, _whole(served, request, generation), generation.cancel)
    return JSONResponse(Completion(**head, choices=choices, usage=usage_of(generation)).model_dump())


def sampling_of(request: Generate, max_tokens: int, logprobs: int | None) -> Sampling:
    """What the engine is asked for. Raises RequestError."""
    given = {
        name: getattr(request, name) for name in ("top_p", "top_k", "min_p", "repetition_penalty", "seed")
    }
    return Sampling(
        max_new_tokens=max_tokens,
        temperature=1.0 if request.temperature is None else request.temperature,
        ignore_eos=request.ignore_eos,
        logprobs=logprobs,
        **{name: value for name, value in given.items() if value is not None},
    )


def usage_of(generation: Generation) -> Usage:
    """Tokens of a request that is over."""
    prompt, generated = generation.prompt_tokens, generation.generated_tokens
    return Usage(prompt_tokens=prompt, completion_tokens=generated, total_tokens=prompt + generated)


def wants_usage(request: Generate) -> bool:
    """Whether a stream ends with the usage."""
    return request.stream_options is not None and bool(request.stream_options.include_usage)


async def gathered(generation: Generation) -> list[tuple[str, list[Any], Any]]:
    """Text, tokens and reason of each choice, when all are over."""
    texts: list[list[str]] = [[] for _ in range(generation.choices)]
    tokens: list[list[Any]] = [[] for _ in range(generation.choices)]
    reasons: list[Any] = [None] * generation.choices
    async for piece in generation.pieces():
        texts[piece.choice].append(piece.text)
        tokens[piece.choice].extend(piece.tokens)
        reasons[piece.choice] = piece.reason
    return [
        ("".join(text), token, reason) for text, token, reason in zip(texts, tokens, reasons, strict=True)
    ]


async def _whole(
    served: Served, request: CompletionRequest, generation: Generation
) -> list[CompletionChoice]:
    return [
        _choice(served, request, Piece(index, text, tuple(tokens), reason))
        for index, (text, tokens, reason) in enumerate(await gathered(generation))
    ]


async def _chunks(
    served: Served, request: CompletionRequest, generation: Generation, head: dict[str, Any]
) -> AsyncIterator[dict[str, Any]]:
    usage = {"usage": None} if wants_usage(request) else {}
    async for piece in generation.pieces():
        yield {**head, "choices": [_choice(served, request, piece).model_dump()], **usage}
    if usage:
        yield {**head, "choices": [], "usage": usage_of(generation).model_dump()}


def _choice(served: Served, request: CompletionRequest, piece: Piece) -> CompletionChoice:
    logprobs = None if request.logprobs is None else completion_logprobs(served.tokenizer, piece.tokens)
    return CompletionChoice(
        index=piece.choice, text=piece.text, logprobs=logprobs, finish_reason=piece.reason
    )
