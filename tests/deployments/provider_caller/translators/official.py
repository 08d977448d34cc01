"""The official SDKs as judges: their types, strictly, and what their clients make of a stream."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, get_args

import orjson
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message
from anthropic.types.message_create_params import MessageCreateParams
from openai import omit
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.chat import ChatCompletionChunk
from openai.types.chat.completion_create_params import CompletionCreateParams
from openai.types.responses.response_create_params import ResponseCreateParams
from pydantic import ConfigDict, TypeAdapter
from pydantic_core import SchemaValidator

from deployments.protocols import Dialect
from deployments.provider_caller.sse import Event, parse_events
from deployments.provider_caller.translators.matrix import Translator, translator
from load.simulator.schemas import reply_adapter

NOW = 1_790_000_000.5
DIALECTS: tuple[Dialect, ...] = ("openai_chat", "openai_responses", "anthropic_messages")
PAIRS = [(caller, provider) for caller in DIALECTS for provider in DIALECTS if caller != provider]


def pair(caller: Dialect, provider: Dialect) -> Translator:
    return translator(caller, provider, clock=lambda: NOW)


def valid_request(dialect: Dialect, body: Mapping[str, Any]) -> dict[str, Any]:
    """The same body. Fails where the SDK's type has another form, or does not have a field at any depth."""
    _request_validator(dialect, body.get("stream") is True).validate_python(dict(body), strict=True)
    return dict(body)


_REQUESTS: dict[Dialect, Any] = {
    "openai_chat": CompletionCreateParams,
    "openai_responses": ResponseCreateParams,
    "anthropic_messages": MessageCreateParams,
}


@cache
def _request_validator(dialect: Dialect, stream: bool) -> SchemaValidator:
    kind = get_args(_REQUESTS[dialect])[1 if stream else 0]
    # A union, because a TypedDict alone takes no configuration.
    adapter: TypeAdapter[Any] = TypeAdapter(kind | None, config=ConfigDict(arbitrary_types_allowed=True))
    return SchemaValidator(_tightened(adapter.core_schema), {"strict": True})  # type: ignore[arg-type]


def _tightened(schema: Any) -> Any:
    """The same schema without room for unknown fields, and with lists where the SDK says `Iterable`, which would be
    checked only when somebody iterates."""
    if isinstance(schema, list | tuple):
        return type(schema)(_tightened(item) for item in schema)
    if not isinstance(schema, dict):
        return schema
    fields = schema.get("type") == "typed-dict"
    inner = {name: value if name == "metadata" else _tightened(value) for name, value in schema.items()}
    if fields:
        inner["fields"] = {name: _tightened(field) for name, field in schema["fields"].items()}
        inner["extra_behavior"] = "forbid"
    elif schema.get("type") == "generator":
        inner["type"] = "list"
    return inner


def valid_reply(dialect: Dialect, body: Mapping[str, Any]) -> dict[str, Any]:
    """The same answer. Fails where the SDK's type has another form."""
    reply_adapter(dialect, False).validate_json(orjson.dumps(body), strict=True)
    return dict(body)


def events_of(stream: bytes) -> list[dict[str, Any]]:
    """The events' data. Fails where the name of an event is not its type."""
    found = []
    for event in parse_events(stream):
        if event.data == b"[DONE]":
            continue
        data = orjson.loads(event.data)
        assert event.type.decode() in ("", data.get("type"))
        found.append(data)
    return found


def valid_events(dialect: Dialect, stream: bytes) -> list[dict[str, Any]]:
    """The events' data. Fails where the SDK's types have another form, or the stream has another frame."""
    events = events_of(stream)
    for event in events:
        reply_adapter(dialect, True).validate_json(orjson.dumps(event), strict=True)
    assert stream.endswith(b"data: [DONE]\n\n") == (dialect == "openai_chat")
    assert (b"event: " in stream) == (dialect != "openai_chat")
    return events


def accumulated(dialect: Dialect, events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the official client makes of a stream."""
    match dialect:
        case "openai_chat":
            return _chat(events)
        case "openai_responses":
            return _response(events)
        case "anthropic_messages":
            return _message(events)


def _chat(events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    state = ChatCompletionStreamState()  # type: ignore[var-annotated]
    for event in events:
        state.handle_chunk(ChatCompletionChunk.model_validate(event))
    # The final completion of a cut answer is an error to this client.
    return state.current_completion_snapshot.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _response(events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    state = ResponseStreamState(input_tools=omit, text_format=omit)  # type: ignore[var-annotated]
    adapter: TypeAdapter[Any] = reply_adapter("openai_responses", True)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    for event in events:
        final = state.handle_event(adapter.validate_python(event))[-1]
    dumped: dict[str, Any] = final.response.model_dump(mode="json", by_alias=True, exclude_unset=True)  # type: ignore[union-attr]
    return dumped


def _message(events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    snapshot = None
    buffers: dict[int, bytes] = {}
    opened: int | None = None
    for event in events:
        # The documented form: one block at a time, numbered in order.
        if event["type"] == "content_block_start":
            assert opened is None
            opened = event["index"]
            assert snapshot is not None
            assert opened == len(snapshot.content)
        elif event["type"] in ("content_block_delta", "content_block_stop"):
            assert event["index"] == opened
            opened = None if event["type"] == "content_block_stop" else opened
        snapshot = accumulate_event(event=dict(event), current_snapshot=snapshot, json_bufs=buffers)  # type: ignore[arg-type]
    assert snapshot is not None
    assert opened is None
    dumped: dict[str, Any] = Message.model_validate(snapshot.model_dump(mode="json")).model_dump(
        mode="json", exclude_unset=True
    )
    return dumped


def streamed(translator: Translator, request: Mapping[str, Any], events: Sequence[bytes], *, at_once: int = 1) -> bytes:
    """The translated stream. events: the provider's; at_once: how many are at hand together."""
    stream = translator.stream(request)
    written = b""
    for start in range(0, len(events), at_once):
        written += stream.feed([Event(data, b"", 0) for data in events[start : start + at_once]])
    return written + stream.end()
