"""Prompts of requests as tokens."""

from __future__ import annotations

from typing import Any

from jinja2 import TemplateError

from nolakit.errors import RequestError
from nolakit.http.schema import ChatRequest
from nolakit.http.served import Served


def encode_inputs(served: Served, inputs: Any) -> list[list[int]]:
    """The prompts of a request in any of the four forms that it may have. Raises RequestError."""
    if isinstance(inputs, str):
        return [served.encode(inputs)]
    if isinstance(inputs[0], int):
        return [inputs]
    return [each if isinstance(each, list) else served.encode(each) for each in inputs]


def encode_chat(served: Served, request: ChatRequest) -> list[int]:
    """A chat as the tokenizer's template writes it, up to where the answer begins. Raises RequestError."""
    tokenizer = served.tokenizer
    if not getattr(tokenizer, "chat_template", None):
        raise RequestError(
            f"found no chat template in the tokenizer of {served.name!r}; expected a base made for chat: use "
            "/v1/completions"
        )
    messages = [message.plain() for message in request.messages]
    try:
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    except (TemplateError, TypeError, ValueError) as error:
        raise RequestError(
            f"found messages that the chat template does not take: {str(error)[:500]}"
        ) from error
    return served.encode(text, special=False)
