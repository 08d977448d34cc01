"""Answers of providers, whole and as streams, in each dialect: the same meaning in all three."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from deployments.protocols import Dialect


@dataclass(frozen=True)
class Call:
    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Answer:
    """What a provider says. cached and written are part of input, reasoned is part of output."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[Call, ...] = ()
    stop: Literal["stop", "length", "tool_calls", "filtered"] = "stop"
    input: int = 100
    cached: int = 0
    written: int = 0
    output: int = 20
    reasoned: int = 0


MODEL = "a-model"


def pieces(text: str, size: int = 3) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def whole(dialect: Dialect, answer: Answer) -> dict[str, Any]:
    match dialect:
        case "openai_chat":
            return _completion(answer)
        case "openai_responses":
            return _response(answer)
        case "anthropic_messages":
            return _message(answer)


def stream(dialect: Dialect, answer: Answer) -> list[bytes]:
    """The data of the events."""
    match dialect:
        case "openai_chat":
            return [*map(orjson.dumps, _chunks(answer)), b"[DONE]"]
        case "openai_responses":
            return [orjson.dumps(event) for event in _response_events(answer)]
        case "anthropic_messages":
            return [orjson.dumps(event) for event in _message_events(answer)]


_CHAT_STOP = {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "filtered": "content_filter"}
_MESSAGE_STOP = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "filtered": "refusal"}


def _chat_usage(answer: Answer) -> dict[str, Any]:
    return {
        "prompt_tokens": answer.input,
        "completion_tokens": answer.output,
        "total_tokens": answer.input + answer.output,
        "prompt_tokens_details": {"cached_tokens": answer.cached, "cache_write_tokens": answer.written},
        "completion_tokens_details": {"reasoning_tokens": answer.reasoned},
    }


def _chat_call(call: Call) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _completion(answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": None}
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.calls:
        message["tool_calls"] = [_chat_call(call) for call in answer.calls]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _CHAT_STOP[answer.stop]}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": MODEL}
    return {**head, "choices": [choice], "usage": _chat_usage(answer)}


def _chunks(answer: Answer) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": piece} for piece in pieces(answer.reasoning)]
    deltas += [{"content": piece} for piece in pieces(answer.text)]
    for index, call in enumerate(answer.calls):
        begun = {"index": index, **_chat_call(call)}
        deltas.append({"tool_calls": [{**begun, "function": {"name": call.name, "arguments": ""}}]})
        for piece in pieces(call.arguments):
            deltas.append({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": _CHAT_STOP[answer.stop]})
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": MODEL}
    chunks: list[dict[str, Any]] = [{**head, "choices": [choice], "usage": None} for choice in choices]
    return [*chunks, {**head, "choices": [], "usage": _chat_usage(answer)}]


def _message_usage(answer: Answer) -> dict[str, Any]:
    return {
        "input_tokens": answer.input - answer.cached - answer.written,
        "cache_read_input_tokens": answer.cached,
        "cache_creation_input_tokens": answer.written,
        "output_tokens": answer.output,
        "output_tokens_details": {"thinking_tokens": answer.reasoned},
    }


def _blocks(answer: Answer) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if answer.reasoning:
        blocks.append({"type": "thinking", "thinking": answer.reasoning, "signature": "c2ln"})
    if answer.text:
        blocks.append({"type": "text", "text": answer.text})
    for call in answer.calls:
        given = orjson.loads(call.arguments)
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": given})
    return blocks


def _message(answer: Answer) -> dict[str, Any]:
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL}
    stop = {"stop_reason": _MESSAGE_STOP[answer.stop], "stop_sequence": None}
    return {**head, "content": _blocks(answer), **stop, "usage": _message_usage(answer)}


def _message_events(answer: Answer) -> list[dict[str, Any]]:
    start = _message(answer) | {"content": [], "stop_reason": None}
    start["usage"] = _message_usage(answer) | {"output_tokens": 1}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    arguments = iter(answer.calls)
    for index, block in enumerate(_blocks(answer)):
        place = {"index": index}
        match block["type"]:
            case "thinking":
                empty = {"type": "thinking", "thinking": "", "signature": ""}
                deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
                deltas.append({"type": "signature_delta", "signature": block["signature"]})
            case "text":
                empty = {"type": "text", "text": ""}
                deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
            case _:
                empty = {**block, "input": {}}
                said = next(arguments).arguments
                deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ["", *pieces(said)]]
        events.append({"type": "content_block_start", **place, "content_block": empty})
        events += [{"type": "content_block_delta", **place, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", **place})
    stop = {"stop_reason": _MESSAGE_STOP[answer.stop], "stop_sequence": None}
    events.append({"type": "message_delta", "delta": stop, "usage": {"output_tokens": answer.output}})
    return [*events, {"type": "message_stop"}]


def _items(answer: Answer) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if answer.reasoning:
        summary = [{"type": "summary_text", "text": answer.reasoning}]
        items.append({"id": "rs_1", "type": "reasoning", "summary": summary, "encrypted_content": "ZW5j"})
    if answer.text:
        part = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
        items.append({**message, "content": [part]})
    for number, call in enumerate(answer.calls):
        head = {"id": f"fc_{number}", "type": "function_call", "call_id": call.id, "name": call.name}
        items.append({**head, "arguments": call.arguments, "status": "completed"})
    return items


def _response(answer: Answer, output: Sequence[dict[str, Any]] | None = None) -> dict[str, Any]:
    finished = answer.stop in ("stop", "tool_calls")
    reason = {"length": "max_output_tokens", "filtered": "content_filter"}.get(answer.stop)
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed" if finished else "incomplete",
        "error": None,
        "incomplete_details": None if finished else {"reason": reason},
        "model": MODEL,
        "output": _items(answer) if output is None else list(output),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": answer.input,
            "input_tokens_details": {"cached_tokens": answer.cached, "cache_write_tokens": answer.written},
            "output_tokens": answer.output,
            "output_tokens_details": {"reasoning_tokens": answer.reasoned},
            "total_tokens": answer.input + answer.output,
        },
    }


def _response_events(answer: Answer) -> list[dict[str, Any]]:
    begun = _response(answer, ()) | {"status": "in_progress", "usage": None, "incomplete_details": None}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(_items(answer)):
        events += _item_events(index, item)
    done = _response(answer)
    events.append({"type": f"response.{done['status']}", "response": done})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def _item_events(index: int, item: dict[str, Any]) -> list[dict[str, Any]]:
    place = {"item_id": item["id"], "output_index": index}
    match item["type"]:
        case "reasoning":
            empty: dict[str, Any] = {"id": item["id"], "type": "reasoning", "summary": []}
            part, kind = {**place, "summary_index": 0}, "response.reasoning_summary_text"
            said = item["summary"][0]["text"]
            opened = {
                "type": "response.reasoning_summary_part.added",
                **part,
                "part": {"type": "summary_text", "text": ""},
            }
            inner = [opened, *({"type": f"{kind}.delta", **part, "delta": piece} for piece in pieces(said))]
            inner.append({"type": f"{kind}.done", **part, "text": said})
        case "message":
            empty = {**item, "content": [], "status": "in_progress"}
            part, kind = {**place, "content_index": 0}, "response.output_text"
            said = item["content"][0]["text"]
            opened = {"type": "response.content_part.added", **part, "part": {**item["content"][0], "text": ""}}
            deltas = ({"type": f"{kind}.delta", **part, "delta": piece, "logprobs": []} for piece in pieces(said))
            done = {"type": f"{kind}.done", **part, "text": said, "logprobs": []}
            closed = {"type": "response.content_part.done", **part, "part": item["content"][0]}
            inner = [opened, *deltas, done, closed]
        case _:
            empty = {**item, "arguments": "", "status": "in_progress"}
            kind = "response.function_call_arguments"
            said = item["arguments"]
            inner = [{"type": f"{kind}.delta", **place, "delta": piece} for piece in pieces(said)]
            inner.append({"type": f"{kind}.done", **place, "arguments": said})
    added = {"type": "response.output_item.added", "output_index": index, "item": empty}
    return [added, *inner, {"type": "response.output_item.done", "output_index": index, "item": item}]
