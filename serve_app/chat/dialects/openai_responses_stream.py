"""OpenAI's stream of a response: the whole response from its events, and its events from a whole response."""

import re
from typing import Any

import orjson

from deployments.protocols import Usage
from serve_app.chat.dialects.events import events_of
from serve_app.http.sse import encode

_NUMBER = re.compile(rb'"sequence_number"\s*:\s*(\d+)')


def next_number(tail: bytes) -> int:
    """The sequence number that follows those of these events."""
    return max((int(number) for number in _NUMBER.findall(tail)), default=-1) + 1


class GatheredResponse:
    """Takes the response from the event that completes it, where it is plain text."""

    def __init__(self) -> None:
        self._response: dict[str, Any] | None = None

    def add(self, events: bytes) -> None:
        """Take whole events in."""
        if b'response.completed"' not in events:
            return
        for event in events_of(events):
            if event.get("type") == "response.completed":
                self._response = event["response"]

    def body(self, used: Usage | None) -> bytes | None:
        """The response as JSON; None when it is more than text or did not come to an end."""
        response = self._response
        return orjson.dumps(response) if response is not None and all(map(_is_text, response["output"])) else None


def _is_text(item: dict[str, Any]) -> bool:
    return item["type"] == "message" and all(part["type"] == "output_text" for part in item["content"])


def replayed(body: bytes) -> bytes:
    """A stored response as a stream."""
    whole: dict[str, Any] = orjson.loads(body)
    begin = {**whole, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    begin.pop("penstock", None)
    begin.pop("completed_at", None)
    events = _Numbered()
    events.add("response.created", response=begin)
    events.add("response.in_progress", response=begin)
    for index, item in enumerate(whole["output"]):
        _replay_item(events, index, item)
    end = "response.incomplete" if whole.get("status") == "incomplete" else "response.completed"
    events.add(end, response=whole)
    return bytes(events.written)


class _Numbered:
    """Events with their sequence numbers."""

    def __init__(self) -> None:
        self.written = bytearray()
        self._number = 0

    def add(self, kind: str, **content: Any) -> None:
        self.written += encode({"type": kind, "sequence_number": self._number, **content}, kind)
        self._number += 1


def _replay_item(events: _Numbered, index: int, item: dict[str, Any]) -> None:
    """An output item begins, grows and is done. A kind without deltas begins complete."""
    where = {"item_id": item.get("id"), "output_index": index}
    match item.get("type"):
        case "message":
            events.add(
                "response.output_item.added", output_index=index, item={**item, "status": "in_progress", "content": []}
            )
            for number, part in enumerate(item["content"]):
                _replay_part(events, {**where, "content_index": number}, part)
        case "function_call":
            started = {**item, "status": "in_progress", "arguments": ""}
            events.add("response.output_item.added", output_index=index, item=started)
            events.add("response.function_call_arguments.delta", **where, delta=item["arguments"])
            events.add(
                "response.function_call_arguments.done", **where, arguments=item["arguments"], name=item.get("name")
            )
        case _:
            events.add("response.output_item.added", output_index=index, item=item)
    events.add("response.output_item.done", output_index=index, item=item)


def _replay_part(events: _Numbered, where: dict[str, Any], part: dict[str, Any]) -> None:
    if part["type"] == "output_text":
        logprobs = part.get("logprobs") or []
        begun = {**part, "text": "", "annotations": [], "logprobs": []}
        events.add("response.content_part.added", **where, part=begun)
        events.add("response.output_text.delta", **where, delta=part["text"], logprobs=logprobs)
        events.add("response.output_text.done", **where, text=part["text"], logprobs=logprobs)
    elif part["type"] == "refusal":
        events.add("response.content_part.added", **where, part={**part, "refusal": ""})
        events.add("response.refusal.delta", **where, delta=part["refusal"])
        events.add("response.refusal.done", **where, refusal=part["refusal"])
    else:
        events.add("response.content_part.added", **where, part=part)
    events.add("response.content_part.done", **where, part=part)
