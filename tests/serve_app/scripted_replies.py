"""What a scripted provider says, in each dialect: as whole bodies, and as events in the pieces in which they come."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from deployments.protocols import Dialect

DONE = b"data: [DONE]\n\n"
INPUT, OUTPUT = 10, 5
CHAT_USAGE = {"prompt_tokens": INPUT, "completion_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT}
RESPONSES_USAGE = {
    "input_tokens": INPUT,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": OUTPUT,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": INPUT + OUTPUT,
}
MESSAGES_USAGE = {"input_tokens": INPUT, "output_tokens": OUTPUT}


@dataclass(frozen=True)
class Said:
    """words: the text in the pieces in which it is streamed. tool: name of a tool that is called instead."""

    model: str
    words: tuple[str, ...] = ("one ", "two ", "three")
    tool: str | None = None
    arguments: str = '{"city": "Ulm"}'
    include_usage: bool = False

    @property
    def text(self) -> str:
        return "".join(self.words)


def whole(dialect: Dialect, said: Said) -> bytes:
    return orjson.dumps(_WHOLE[dialect](said))


def stream(dialect: Dialect, said: Said) -> Iterator[bytes]:
    return _STREAMS[dialect](said)


def error(dialect: Dialect, message: str) -> bytes:
    """The event of a stream that breaks off."""
    if dialect == "anthropic_messages":
        return _named({"type": "error", "error": {"type": "api_error", "message": message}})
    if dialect == "openai_responses":
        stated = {"message": message, "type": "server_error", "param": None, "code": "upstream_error"}
        return _named({"type": "error", "sequence_number": 9, **stated, "error": stated})
    return _data({"error": {"message": message, "type": "server_error", "param": None, "code": "upstream_error"}})


def _data(content: Any) -> bytes:
    return b"data: " + orjson.dumps(content) + b"\n\n"


def _named(content: dict[str, Any]) -> bytes:
    return f"event: {content['type']}\n".encode() + _data(content)


def _chat(said: Said) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text, "refusal": None}
    if said.tool:
        call = {"id": "call_1", "type": "function", "function": {"name": said.tool, "arguments": said.arguments}}
        message |= {"content": None, "tool_calls": [call]}
    finish = "tool_calls" if said.tool else "stop"
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": said.model}
    return {**head, "choices": [choice], "usage": CHAT_USAGE}


def _chat_stream(said: Said) -> Iterator[bytes]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": said.model}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        return _data({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    if said.tool:
        call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": said.tool, "arguments": ""}}
        yield chunk({"role": "assistant", "content": None, "tool_calls": [call]})
        yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": said.arguments}}]})
    else:
        for word in said.words:
            yield chunk({"content": word})
    yield chunk({}, "tool_calls" if said.tool else "stop")
    if said.include_usage:
        yield _data({**head, "choices": [], "usage": CHAT_USAGE})
    yield DONE


def _message(said: Said) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "text", "text": said.text}
    if said.tool:
        block = {"type": "tool_use", "id": "toolu_1", "name": said.tool, "input": orjson.loads(said.arguments)}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": said.model,
        "content": [block],
        "stop_reason": "tool_use" if said.tool else "end_turn",
        "stop_sequence": None,
        "usage": MESSAGES_USAGE,
    }


def _message_stream(said: Said) -> Iterator[bytes]:
    whole = _message(said)
    usage = {"input_tokens": INPUT, "output_tokens": 1}
    begin = {**whole, "content": [], "stop_reason": None, "usage": usage}
    [block] = whole["content"]
    started = {**block, "input": {}} if said.tool else {**block, "text": ""}
    yield (
        _named({"type": "message_start", "message": begin})
        + _named({"type": "content_block_start", "index": 0, "content_block": started})
        + _named({"type": "ping"})
    )
    if said.tool:
        yield _message_delta({"type": "input_json_delta", "partial_json": said.arguments})
    else:
        for word in said.words:
            yield _message_delta({"type": "text_delta", "text": word})
    ended = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield _named({"type": "content_block_stop", "index": 0})
    yield _named({"type": "message_delta", "delta": ended, "usage": {"output_tokens": OUTPUT}})
    yield _named({"type": "message_stop"})


def _message_delta(delta: dict[str, Any]) -> bytes:
    return _named({"type": "content_block_delta", "index": 0, "delta": delta})


def _response(said: Said) -> dict[str, Any]:
    part = {"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}
    item: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
    item["content"] = [part]
    if said.tool:
        item = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "status": "completed"}
        item |= {"name": said.tool, "arguments": said.arguments}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": said.model,
        "output": [item],
        "parallel_tool_calls": True,
        "temperature": 1,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1,
        "usage": RESPONSES_USAGE,
    }


def _response_stream(said: Said) -> Iterator[bytes]:
    done = _response(said)
    begun = {**done, "status": "in_progress", "output": [], "usage": None}
    [item] = done["output"]
    where = {"item_id": item["id"], "output_index": 0}
    number = iter(range(100))

    def event(kind: str, **content: Any) -> bytes:
        return _named({"type": kind, "sequence_number": next(number), **content})

    yield event("response.created", response=begun) + event("response.in_progress", response=begun)
    if said.tool:
        started = {**item, "status": "in_progress", "arguments": ""}
        yield event("response.output_item.added", output_index=0, item=started)
        yield event("response.function_call_arguments.delta", **where, delta=said.arguments)
        yield event("response.function_call_arguments.done", **where, arguments=said.arguments, name=said.tool)
    else:
        [part] = item["content"]
        inside = {**where, "content_index": 0}
        started = {**item, "status": "in_progress", "content": []}
        yield event("response.output_item.added", output_index=0, item=started)
        yield event("response.content_part.added", **inside, part={**part, "text": ""})
        for word in said.words:
            yield event("response.output_text.delta", **inside, delta=word, logprobs=[])
        yield event("response.output_text.done", **inside, text=said.text, logprobs=[])
        yield event("response.content_part.done", **inside, part=part)
    yield event("response.output_item.done", output_index=0, item=item)
    yield event("response.completed", response=done)


_WHOLE = {"openai_chat": _chat, "openai_responses": _response, "anthropic_messages": _message}
_STREAMS = {
    "openai_chat": _chat_stream,
    "openai_responses": _response_stream,
    "anthropic_messages": _message_stream,
}
