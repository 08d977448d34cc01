"""The official SDKs' types as validators. Importing this imports the SDKs."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any, get_args

from anthropic.types import Message, MessageTokensCount, ModelInfo, RawMessageStreamEvent
from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.message_create_params import MessageCreateParams
from groq.types.chat import ChatCompletion as GroqCompletion
from groq.types.chat import ChatCompletionChunk as GroqChunk
from groq.types.chat.completion_create_params import CompletionCreateParams as GroqCreateParams
from openai.types import CreateEmbeddingResponse, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionStreamOptionsParam
from openai.types.chat.completion_create_params import CompletionCreateParams
from openai.types.embedding_create_params import EmbeddingCreateParams
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_create_params import ResponseCreateParams
from pydantic import ConfigDict, TypeAdapter
from pydantic_core import SchemaValidator

from load.simulator.perplexity_types import AgentEvent, AgentRequest, AgentResponse


@dataclass(frozen=True, slots=True)
class RequestType:
    """type: of the body; where it is a union, its parts are for bodies without and with `stream: true`. also: fields
    that the provider documents and the SDK does not have. without: those that the provider refuses all the same.
    lenient: unknown fields are ignored, as this kind of server does."""

    type: Any
    also: dict[str, Any] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    lenient: bool = False


# Groq answers "property ... is unsupported" to these.
_NOT_GROQ = frozenset({"include", "previous_response_id", "prompt", "prompt_cache_key", "safety_identifier"})
_STREAM_OPTIONS = {"stream_options": ChatCompletionStreamOptionsParam | None}
# https://platform.claude.com/docs/en/api/migration-2026-10-21: gone since then, still there for the version before.
_SAMPLING = {"temperature": float, "top_p": float, "top_k": int}
# Google answers "Unknown name ...: Cannot find field." to these.
_NOT_GEMINI = frozenset(
    {
        "audio", "function_call", "functions", "logit_bias", "metadata", "moderation", "prediction",
        "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier", "store",
        "verbosity", "web_search_options",
    }
)  # fmt: skip

REQUESTS: dict[str, RequestType] = {
    "openai_chat": RequestType(CompletionCreateParams),
    "openai_responses": RequestType(ResponseCreateParams),
    "openai_embeddings": RequestType(EmbeddingCreateParams),
    "anthropic_messages": RequestType(MessageCreateParams),
    "anthropic_messages@2023-06-01": RequestType(MessageCreateParams, also=_SAMPLING),
    "anthropic_count": RequestType(MessageCountTokensParams),
    "groq_chat": RequestType(GroqCreateParams, also=_STREAM_OPTIONS),
    "groq_responses": RequestType(ResponseCreateParams, without=_NOT_GROQ),
    "gemini_chat": RequestType(CompletionCreateParams, also={"extra_body": dict[str, Any]}, without=_NOT_GEMINI),
    "perplexity_agent": RequestType(AgentRequest),
    "perplexity_sonar": RequestType(CompletionCreateParams, lenient=True),
    "plain_chat": RequestType(CompletionCreateParams, lenient=True),
    "plain_embeddings": RequestType(EmbeddingCreateParams, lenient=True),
}

REPLIES: dict[str, tuple[Any, Any]] = {
    "openai_chat": (ChatCompletion, ChatCompletionChunk),
    "gemini_chat": (ChatCompletion, ChatCompletionChunk),
    "plain_chat": (ChatCompletion, ChatCompletionChunk),
    "perplexity_sonar": (ChatCompletion, ChatCompletionChunk),
    "groq_chat": (GroqCompletion, GroqChunk),
    "openai_responses": (Response, ResponseStreamEvent),
    "groq_responses": (Response, ResponseStreamEvent),
    "anthropic_messages": (Message, RawMessageStreamEvent),
    "anthropic_count": (MessageTokensCount, None),
    "openai_embeddings": (CreateEmbeddingResponse, None),
    "plain_embeddings": (CreateEmbeddingResponse, None),
    "perplexity_agent": (AgentResponse, AgentEvent),
    "anthropic_model": (ModelInfo, None),
    "openai_model": (Model, None),
}
"""By the name of the request's type: the answer and the event of a stream."""


@cache
def request_validator(name: str, stream: bool) -> SchemaValidator:
    """Of a body. An unknown field at any depth is an error, and nothing is converted."""
    kind = REQUESTS[name].type
    parts = get_args(kind)
    return _strict(parts[1 if stream else 0] if parts else kind)


@cache
def field_validator(name: str, field_name: str) -> SchemaValidator:
    """Of a field that only the provider documents."""
    return _strict(REQUESTS[name].also[field_name])


@cache
def known_fields(name: str) -> frozenset[str]:
    """All fields that a body may have at its top."""
    request = REQUESTS[name]
    kinds = get_args(request.type) or (request.type,)
    names = {
        field_name for kind in kinds for base in kind.__mro__ for field_name in getattr(base, "__annotations__", ())
    }
    return frozenset((names | set(request.also)) - request.without)


@cache
def reply_adapter(name: str, event: bool) -> TypeAdapter[Any]:
    """Of an answer or an event, as JSON."""
    return TypeAdapter(REPLIES[name][1 if event else 0])


def build_all() -> None:
    """Build every validator now (0.5 s), so that no request waits for it."""
    for name, request in REQUESTS.items():
        for stream in (False, True):
            request_validator(name, stream)
        for field_name in request.also:
            field_validator(name, field_name)
    for name, (_, event) in REPLIES.items():
        reply_adapter(name, False)
        if event is not None:
            reply_adapter(name, True)


def _strict(kind: Any) -> SchemaValidator:
    # A union, because a TypedDict alone takes no configuration.
    adapter: TypeAdapter[Any] = TypeAdapter(kind | None, config=ConfigDict(arbitrary_types_allowed=True))
    return SchemaValidator(_tightened(adapter.core_schema), {"strict": True})


def _tightened(schema: Any) -> Any:
    """The same schema with lists where the SDK says `Iterable`, which would be checked only when somebody iterates, and
    without room for unknown fields."""
    if isinstance(schema, dict):
        # A schema has a type; the fields of one are a dictionary too, and one of them may be called `metadata`.
        dropped = {"metadata"} if isinstance(schema.get("type"), str) else set()
        inner = {key: _tightened(value) for key, value in schema.items() if key not in dropped}
        if inner.get("type") == "generator":
            inner["type"] = "list"
        elif inner.get("type") == "typed-dict":
            inner["extra_behavior"] = "forbid"
        return inner
    if isinstance(schema, list | tuple):
        return type(schema)(_tightened(item) for item in schema)
    return schema
