"""Probabilities of tokens in OpenAI's two forms."""

from __future__ import annotations

from typing import Any

from nolakit.http.answers import ChatLogprobs, CompletionLogprobs, TokenLogprob, TopLogprob
from nolakit.http.generating import Placed
from nolakit.http.texts import UNFINISHED


def completion_logprobs(tokenizer: Any, placed: Placed) -> CompletionLogprobs:
    """The form of completions. Tokens whose texts are equal show as one among the likeliest, with the larger value."""
    tops = []
    for token, _ in placed:
        top: dict[str, float] = {}
        for each, value in (*token.top, (token.id, token.logprob or 0.0)):
            text = _text(tokenizer, each)
            top[text] = max(value, top.get(text, value))
        tops.append(top)
    return CompletionLogprobs(
        tokens=[_text(tokenizer, token.id) for token, _ in placed],
        token_logprobs=[token.logprob or 0.0 for token, _ in placed],
        top_logprobs=tops,
        text_offset=[offset for _, offset in placed],
    )


def chat_logprobs(tokenizer: Any, placed: Placed) -> ChatLogprobs:
    """The form of chat."""
    return ChatLogprobs(
        content=[
            TokenLogprob(
                **_described(tokenizer, token.id, token.logprob or 0.0),
                top_logprobs=[TopLogprob(**_described(tokenizer, each, value)) for each, value in token.top],
            )
            for token, _ in placed
        ]
    )


def _described(tokenizer: Any, token: int, value: float) -> dict[str, Any]:
    text = _text(tokenizer, token)
    return {"token": text, "logprob": value, "bytes": None if UNFINISHED in text else list(text.encode())}


def _text(tokenizer: Any, token: int) -> str:
    return tokenizer.decode([token], clean_up_tokenization_spaces=False)
