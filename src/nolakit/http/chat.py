"""Chat completions, streamed or whole."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from nolakit.http.access import adapter_of, key_of
from nolakit.http.answers import AssistantMessage, Chat, ChatChoice, ChatLogprobs
from nolakit.http.completions import gathered, sampling_of, usage_of, wants_usage
from nolakit.http.generating import Generation, Placed
from nolakit.http.logprobs import chat_logprobs
from nolakit.http.prompting import encode_chat
from nolakit.http.schema import ChatRequest
from nolakit.http.served import Served
from nolakit.http.streaming import EventStream, unless_gone


async def chat(served: Served, request: ChatRequest, http: Request, write_seconds: float) -> Response:
    """Answer POST /v1/chat/completions."""

    def start() -> None:
        adapter = adapter_of(served, key_of(http), request.model)
        prompt = encode_chat(served, request)
        asked = request.max_completion_tokens or request.max_tokens
        most = asked or max(
            1, served.engine.max_length - len(prompt)
        )  # to the end of the context, as OpenAI's
        logprobs = (request.top_logprobs or 0) if request.logprobs else None
        generation.prompts = [prompt]
        generation.start(adapter, sampling_of(request, most, logprobs), request.n or 1, request.stop)

    generation = Generation(served)
    await unless_gone(http, served.in_thread(start), generation.cancel)
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": request.model}
    head["system_fingerprint"] = generation.fingerprint
    if request.stream:
        events = _chunks(served, request, generation, {**head, "object": "chat.completion.chunk"})
        return EventStream(events, generation.cancel, write_seconds=write_seconds)
    found = await unless_gone(http, gathered(generation), generation.cancel)
    choices = [
        ChatChoice(
            index=index, message=AssistantMessage(content=text), finish_reason=reason,
            logprobs=_logprobs(served, request, tokens),
        )
        for index, (text, tokens, reason) in enumerate(found)
    ]  # fmt: skip
    return JSONResponse(Chat(**head, choices=choices, usage=usage_of(generation)).model_dump())


async def _chunks(
    served: Served, request: ChatRequest, generation: Generation, head: dict[str, Any]
) -> AsyncIterator[dict[str, Any]]:
    usage = {"usage": None} if wants_usage(request) else {}

    def chunk(
        index: int, delta: dict[str, str], logprobs: ChatLogprobs | None, reason: str | None
    ) -> dict[str, Any]:
        probabilities = None if logprobs is None else logprobs.model_dump()
        choice = {"index": index, "delta": delta, "logprobs": probabilities, "finish_reason": reason}
        return {**head, "choices": [choice], **usage}

    for index in range(generation.choices):
        yield chunk(index, {"role": "assistant", "content": ""}, None, None)
    async for piece in generation.pieces():
        delta = {"content": piece.text} if piece.text else {}
        yield chunk(piece.choice, delta, _logprobs(served, request, piece.tokens), piece.reason)
    if usage:
        yield {**head, "choices": [], "usage": usage_of(generation).model_dump()}


def _logprobs(served: Served, request: ChatRequest, tokens: Placed) -> ChatLogprobs | None:
    return chat_logprobs(served.tokenizer, tokens) if request.logprobs else None
