"""What requests hold. Nothing is ignored: an unknown option is refused by name, and so is one of OpenAI's that this
server does not have, unless it asks for nothing."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, model_validator

MOST_STOPS, LONGEST_STOP, MOST_INPUTS, MOST_MESSAGES = 4, 256, 2048, 4096
Prompts = str | list[str] | list[int] | list[list[int]]
_MEANS_NOTHING: dict[str, tuple[Any, ...]] = {  # of completions and chat alike
    "frequency_penalty": (0,), "presence_penalty": (0,), "logit_bias": ({},), "best_of": (1,), "metadata": ({},),
}  # fmt: skip


class Strict(BaseModel):
    """No conversion of types, no unknown names, no NaN."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)
    unsupported: ClassVar[dict[str, tuple[Any, ...]]] = {}  # OpenAI's name -> values that ask for nothing

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, values: Any) -> Any:
        """Stops at the first, so that a body of a million names costs no million errors."""
        if not isinstance(values, dict):
            return values
        kept = {}
        for name, value in values.items():
            if name in cls.model_fields:
                kept[name] = value
            elif name not in cls.unsupported:
                raise ValueError(f"found the unknown option {name[:100]!r}")
            elif value is not None and not any(_same(value, harmless) for harmless in cls.unsupported[name]):
                raise ValueError(f"found {name!r}, which this server does not support; leave it out")
        return kept


def _same(value: Any, harmless: Any) -> bool:
    numbers = {type(value), type(harmless)} <= {int, float}  # False is no 0
    return value == harmless and (numbers or type(value) is type(harmless))


def _prompts(value: Any) -> Any:
    """As `Prompts`, checked by hand: pydantic would report each of a million wrong tokens for each form."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list) and value:
        first = value[0]
        if isinstance(first, str) and all(isinstance(each, str) for each in value):
            return [_text(each) for each in value]
        if _are_tokens(value) or all(isinstance(each, list) and each and _are_tokens(each) for each in value):
            return value
    raise ValueError(
        "expected a text, a list of texts, a list of token ids or a list of lists of token ids, none empty"
    )


def _are_tokens(values: list[Any]) -> bool:
    return all(type(each) is int and 0 <= each < 1 << 31 for each in values)


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError("found half of a surrogate pair; expected Unicode text") from error
    return value


def _stops(value: Any) -> list[str]:
    if value is None:
        return []
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or len(stops) > MOST_STOPS:
        raise ValueError(f"expected a text or at most {MOST_STOPS} texts")
    if not all(isinstance(each, str) and 0 < len(each) <= LONGEST_STOP for each in stops):
        raise ValueError(f"expected texts of 1 to {LONGEST_STOP} characters")
    return [_text(each) for each in stops]


_TOKEN = {"type": "integer", "minimum": 0, "maximum": (1 << 31) - 1}
_TOKENS = {"type": "array", "items": _TOKEN, "minItems": 1}
_TEXTS = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_PROMPTS = {
    "anyOf": [{"type": "string"}, _TEXTS, _TOKENS, {"type": "array", "items": _TOKENS, "minItems": 1}]
}
_STOP = {"type": "string", "minLength": 1, "maxLength": LONGEST_STOP}
_STOPS = {"anyOf": [_STOP, {"type": "array", "items": _STOP, "maxItems": MOST_STOPS}, {"type": "null"}]}


class _With:
    """A hand-written JSON schema of a field."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = schema

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return self.schema


Tokens = Annotated[Prompts, PlainValidator(_prompts), _With(_PROMPTS)]
Stops = Annotated[list[str], PlainValidator(_stops), _With(_STOPS)]
Name = Annotated[str, Field(min_length=1, max_length=300, description="The base's name, or name, name@3, name:tag or "
                                                                     "sha256:DIGEST of an adapter.")]  # fmt: skip


class StreamOptions(Strict):
    """Of a streamed answer."""

    unsupported = {"include_obfuscation": (False,)}
    include_usage: bool | None = None


class Generate(Strict):
    """What completions and chat have in common."""

    model: Name
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2, description="1 where it is not given.")
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0, description="0 is all.")
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0, le=100)
    n: int | None = Field(None, ge=1, le=128)
    seed: int | None = Field(None, ge=0, lt=1 << 63)
    stop: Stops = []
    ignore_eos: bool = False
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = Field(None, description="Taken and not used.")

    @model_validator(mode="after")
    def _stream_options_of_a_stream(self) -> Any:
        if self.stream_options is not None and not self.stream:
            raise ValueError("found stream_options without stream=true")
        return self


class CompletionRequest(Generate):
    """POST /v1/completions."""

    unsupported = {**_MEANS_NOTHING, "echo": (False,), "suffix": ("",)}
    prompt: Tokens
    logprobs: int | None = Field(None, ge=0, le=20)


class TextPart(Strict):
    """A text in a message of several parts."""

    type: Literal["text"]
    text: str


class Message(Strict):
    """One message of a chat."""

    unsupported = {"name": (), "tool_calls": ([],), "refusal": (), "audio": (), "function_call": ()}
    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(max_length=MOST_MESSAGES, fail_fast=True)]

    def plain(self) -> dict[str, str]:
        """With the parts joined, for a chat template."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": self.role, "content": text}


class ChatRequest(Generate):
    """POST /v1/chat/completions."""

    unsupported = {
        **_MEANS_NOTHING, "tools": ([],), "tool_choice": ("none", "auto"), "parallel_tool_calls": (True, False),
        "functions": ([],), "function_call": ("none", "auto"), "response_format": ({"type": "text"},),
        "modalities": (["text"],), "audio": (), "prediction": (), "reasoning_effort": (), "verbosity": ("medium",),
        "service_tier": ("auto", "default"), "store": (False,), "web_search_options": (), "moderation": (),
        "prompt_cache_key": (), "prompt_cache_retention": (), "safety_identifier": (),
    }  # fmt: skip
    messages: Annotated[list[Message], Field(min_length=1, max_length=MOST_MESSAGES, fail_fast=True)]
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)

    @model_validator(mode="after")
    def _consistent(self) -> Any:
        if self.max_tokens is not None and self.max_completion_tokens not in (None, self.max_tokens):
            raise ValueError("found max_tokens and max_completion_tokens that differ")
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("found top_logprobs without logprobs=true")
        return self


class EmbeddingRequest(Strict):
    """POST /v1/embeddings."""

    unsupported = {"dimensions": ()}
    model: Name
    input: Tokens
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = Field(None, description="Taken and not used.")


class ClassifyRequest(Strict):
    """POST /v1/classify."""

    model: Name
    input: Tokens


class TagRequest(Strict):
    """PUT /v1/tags/NAME:TAG. version: None is the newest."""

    version: int | None = Field(None, ge=1, le=999_999_999)
