"""One answer, "Hello there", in each dialect: whole, streamed, and read back by the official clients' types."""

from typing import Any

import orjson
from anthropic.types import Message, RawMessageStreamEvent
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from deployments.protocols import Dialect
from deployments.provider_caller.sse import Event, parse_events

TEXT = "Hello there"
INPUT, CACHED, OUTPUT = 30, 20, 7

REQUESTS: dict[Dialect, dict[str, Any]] = {
    "openai_chat": {"model": "auto", "messages": [{"role": "user", "content": "Hi there"}]},
    "openai_responses": {"model": "auto", "input": "Hi there"},
    "anthropic_messages": {"model": "auto", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi there"}]},
}

_CHAT_HEAD = {"id": "chatcmpl-1", "created": 1_790_000_000, "model": "m"}
_CHAT_USAGE = {
    "prompt_tokens": INPUT,
    "completion_tokens": OUTPUT,
    "total_tokens": INPUT + OUTPUT,
    "prompt_tokens_details": {"cached_tokens": CACHED},
}
_RESPONSES_USAGE = {
    "input_tokens": INPUT,
    "input_tokens_details": {"cached_tokens": CACHED, "cache_write_tokens": 0},
    "output_tokens": OUTPUT,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": INPUT + OUTPUT,
}
_MESSAGES_INPUT = {"input_tokens": INPUT - CACHED, "cache_read_input_tokens": CACHED, "cache_creation_input_tokens": 0}
_MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
_ITEM = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
_PART = {"type": "output_text", "text": TEXT, "annotations": []}


def _response(status: str, output: list[Any]) -> dict[str, Any]:
    head = {"id": "resp_1", "object": "response", "created_at": 1_790_000_000, "model": "m", "status": status}
    answer = {**head, "output": output, "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    return {**answer, "usage": _RESPONSES_USAGE} if status == "completed" else answer


def whole(dialect: Dialect) -> bytes:
    """The answer in one piece."""
    if dialect == "openai_chat":
        choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
        return orjson.dumps({**_CHAT_HEAD, "object": "chat.completion", "choices": [choice], "usage": _CHAT_USAGE})
    if dialect == "anthropic_messages":
        end = {"stop_reason": "end_turn", "content": [{"type": "text", "text": TEXT}]}
        return orjson.dumps({**_MESSAGE, **end, "usage": {**_MESSAGES_INPUT, "output_tokens": OUTPUT}})
    return orjson.dumps(_response("completed", [{**_ITEM, "content": [_PART]}]))


def streamed(dialect: Dialect) -> list[bytes]:
    """The answer as events: what comes before the text, "Hello", " there", the rest to the proper end."""
    if dialect == "openai_chat":
        return _chat_stream()
    return _messages_stream() if dialect == "anthropic_messages" else _responses_stream()


def _chat_stream() -> list[bytes]:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return _sse({**_CHAT_HEAD, "object": "chat.completion.chunk", "choices": [choice]})

    usage = _sse({**_CHAT_HEAD, "object": "chat.completion.chunk", "choices": [], "usage": _CHAT_USAGE})
    begin = chunk({"role": "assistant", "content": ""})
    return [
        begin,
        chunk({"content": "Hello"}),
        chunk({"content": " there"}),
        chunk({}, "stop") + usage + b"data: [DONE]\n\n",
    ]


def _messages_stream() -> list[bytes]:
    message = {**_MESSAGE, "content": [], "stop_reason": None, "usage": {**_MESSAGES_INPUT, "output_tokens": 1}}
    block = {"index": 0, "content_block": {"type": "text", "text": ""}}
    begin = _named("message_start", message=message) + _named("content_block_start", **block) + _named("ping")
    texts = [
        _named("content_block_delta", index=0, delta={"type": "text_delta", "text": text})
        for text in ("Hello", " there")
    ]
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    end = _named("message_delta", delta=delta, usage={"output_tokens": OUTPUT}) + _named("message_stop")
    return [begin, *texts, _named("content_block_stop", index=0) + end]


def _responses_stream() -> list[bytes]:
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    item = {**_ITEM, "content": [_PART]}
    begin = [
        ("response.created", {"response": _response("in_progress", [])}),
        ("response.output_item.added", {"output_index": 0, "item": {**_ITEM, "status": "in_progress", "content": []}}),
        ("response.content_part.added", {**place, "part": {**_PART, "text": ""}}),
    ]
    texts = [("response.output_text.delta", {**place, "delta": text, "logprobs": []}) for text in ("Hello", " there")]
    end = [
        ("response.output_text.done", {**place, "text": TEXT, "logprobs": []}),
        ("response.content_part.done", {**place, "part": _PART}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        ("response.completed", {"response": _response("completed", [item])}),
    ]
    events = [
        _named(kind, sequence_number=number, **content) for number, (kind, content) in enumerate([*begin, *texts, *end])
    ]
    return [b"".join(events[:3]), events[3], events[4], b"".join(events[5:])]


def text_of(dialect: Dialect, body: bytes) -> str:
    """The text of a whole answer, which must be a valid one."""
    content = orjson.loads(body)
    if dialect == "openai_chat":
        return ChatCompletion.model_validate(content).choices[0].message.content or ""
    if dialect == "anthropic_messages":
        return "".join(block.text for block in Message.model_validate(content).content if block.type == "text")
    return Response.model_validate(content).output_text


_RAW_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
_RESPONSE_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def text_of_events(dialect: Dialect, stream: bytes) -> str:
    """The text of a stream, of which every event must be a valid one."""
    text = ""
    for event in parse_events(stream):
        if event.data == b"[DONE]":
            continue
        content = orjson.loads(event.data)
        if dialect == "openai_chat":
            choices = ChatCompletionChunk.model_validate(content).choices
            text += (choices[0].delta.content or "") if choices else ""
        elif dialect == "anthropic_messages":
            found = None if content["type"] == "ping" else _RAW_EVENT.validate_python(content)
            if content["type"] == "content_block_delta":
                text += found.delta.text
        else:
            found = _RESPONSE_EVENT.validate_python(content)
            if found.type == "response.output_text.delta":
                text += found.delta
    return text


def last_event(stream: bytes) -> Event:
    """The last event with data."""
    return list(parse_events(stream))[-1]


def ends_well(dialect: Dialect, stream: bytes) -> bool:
    """Whether a stream ends as its dialect ends one that is complete, and does so once."""
    marks = {"openai_chat": b"data: [DONE]", "anthropic_messages": b'"message_stop"'}
    mark = marks.get(dialect, b'"response.completed"')
    return stream.count(mark) == 1 and mark in stream[last_event(stream).start :]


def error_of(dialect: Dialect, stream: bytes) -> str:
    """The message of the error event that a stream ends with."""
    event = last_event(stream)
    content = orjson.loads(event.data)
    if dialect == "openai_chat":
        return str(content["error"]["message"])
    assert event.type == b"error"
    assert content["type"] == "error"
    if dialect == "anthropic_messages":
        return str(content["error"]["message"])
    _RESPONSE_EVENT.validate_python(content)
    return str(content["message"])


def _sse(content: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(content) + b"\n\n"


def _named(kind: str, **content: Any) -> bytes:
    return f"event: {kind}\n".encode() + _sse({"type": kind, **content})
