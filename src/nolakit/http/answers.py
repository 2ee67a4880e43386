"""What answers hold, as OpenAI has it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

FinishReason = Literal["stop", "length"]


class ErrorBody(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """Any answer but success."""

    error: ErrorBody


class Usage(BaseModel):
    """Tokens of a request."""

    prompt_tokens: int
    completion_tokens: int = 0
    total_tokens: int


class CompletionLogprobs(BaseModel):
    """Natural logarithms of the probabilities before temperature and filters."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(BaseModel):
    """One continuation."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: FinishReason | None


class Completion(BaseModel):
    """POST /v1/completions. system_fingerprint: `sha256:` and the digest of the adapter's content."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    system_fingerprint: str | None
    choices: list[CompletionChoice]
    usage: Usage | None


class TopLogprob(BaseModel):
    """A token that could have been. bytes: None where it is no whole text by itself."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(TopLogprob):
    """A token of the answer."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(BaseModel):
    """As `CompletionLogprobs`, in the form that chat has."""

    content: list[TokenLogprob]


class AssistantMessage(BaseModel):
    """The answer's message."""

    role: Literal["assistant"] = "assistant"
    content: str


class ChatChoice(BaseModel):
    """One answer."""

    index: int
    message: AssistantMessage
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason


class Chat(BaseModel):
    """POST /v1/chat/completions."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    system_fingerprint: str | None
    choices: list[ChatChoice]
    usage: Usage


class Model(BaseModel):
    """The base or an adapter. What follows owned_by is of adapters; size is in bytes."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "nolakit"
    version: int | None = None
    tags: list[str] | None = None
    digest: str | None = None
    size: int | None = None
    method: str | None = None


class Models(BaseModel):
    """GET /v1/models."""

    object: Literal["list"] = "list"
    data: list[Model]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Embedding(BaseModel):
    """A vector of length 1, as numbers or as base64 of float32, little-endian."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Embeddings(BaseModel):
    """POST /v1/embeddings."""

    object: Literal["list"] = "list"
    model: str
    data: list[Embedding]
    usage: Usage


class Classified(BaseModel):
    """The likeliest label, the probability of each, and the logits they come from."""

    index: int
    label: str
    probabilities: dict[str, float]
    logits: list[float]


class Classification(BaseModel):
    """POST /v1/classify."""

    object: Literal["list"] = "list"
    model: str
    data: list[Classified]
    usage: Usage


class Retired(BaseModel):
    """DELETE of an adapter or a tag."""

    id: str
    object: Literal["model", "tag"]
    deleted: Literal[True] = True
    versions: list[str] = []


class Health(BaseModel):
    """GET /health."""

    status: Literal["ok"] = "ok"
    model: str
    version: str
