"""Anthropic's stream: one whole message from its events, and its events from a whole message."""

from typing import Any

import orjson

from deployments.protocols import Usage
from serve_app.chat.dialects.events import events_of
from serve_app.http.sse import encode


class GatheredMessage:
    """Builds the message that a stream of plain text amounts to."""

    def __init__(self) -> None:
        self._message: dict[str, Any] | None = None
        self._texts: dict[int, list[str]] = {}
        self._penstock: dict[str, Any] | None = None
        self._plain = True
        self._ended = False

    def add(self, events: bytes) -> None:
        """Take whole events in."""
        for event in events_of(events):
            self._add(event)

    def _add(self, event: dict[str, Any]) -> None:
        if "answered" in (stated := event.get("penstock") or {}):
            self._penstock = stated
        match event.get("type"):
            case "message_start":
                self._message = event["message"]
            case "content_block_start":
                block = event["content_block"]
                self._plain = self._plain and block.get("type") == "text" and not block.get("citations")
                self._texts[event["index"]] = [block.get("text") or ""]
            case "content_block_delta":
                delta = event["delta"]
                self._plain = self._plain and delta.get("type") == "text_delta"
                self._texts.setdefault(event["index"], []).append(delta.get("text") or "")
            case "message_delta" if self._message is not None:
                self._message.update(event["delta"])
                usage = {name: count for name, count in (event.get("usage") or {}).items() if count is not None}
                self._message["usage"] = {**(self._message.get("usage") or {}), **usage}
            case "message_stop":
                self._ended = True

    def body(self, used: Usage | None) -> bytes | None:
        """The message as JSON; None when it is more than text or did not come to an end."""
        if self._message is None or not self._plain or not self._ended:
            return None
        content = [{"type": "text", "text": "".join(text), "citations": None} for text in self._texts.values()]
        whole = {**self._message, "content": content}
        if self._penstock is not None:
            whole["penstock"] = self._penstock
        return orjson.dumps(whole)


def replayed(body: bytes) -> bytes:
    """A stored message as a stream."""
    whole: dict[str, Any] = orjson.loads(body)
    stated = {"penstock": whole.pop("penstock")} if "penstock" in whole else {}
    usage = whole.get("usage") or {"input_tokens": 0, "output_tokens": 0}
    begin = {**whole, "content": [], "stop_reason": None, "stop_sequence": None, "usage": {**usage, "output_tokens": 0}}
    events = _event("message_start", message=begin)
    for index, block in enumerate(whole.get("content") or ()):
        start, deltas = _parts(block)
        events += _event("content_block_start", index=index, content_block=start)
        for delta in deltas:
            events += _event("content_block_delta", index=index, delta=delta)
        events += _event("content_block_stop", index=index)
    end = {name: whole.get(name) for name in ("stop_reason", "stop_sequence", "stop_details") if name in whole}
    counts = {name: count for name, count in usage.items() if name in _CUMULATIVE}
    events += _event("message_delta", delta=end, usage=counts, **stated)
    return events + _event("message_stop")


_CUMULATIVE = (
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens_details",
    "server_tool_use",
)
"""Counts that a `message_delta` has, too."""


def _parts(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """How a content block begins, and the deltas that complete it. A kind without deltas begins complete."""
    match block.get("type"):
        case "text":
            begin = {**block, "text": ""}
            return begin, [{"type": "text_delta", "text": block["text"]}] if block["text"] else []
        case "tool_use" | "server_tool_use":
            arguments = orjson.dumps(block["input"]).decode()
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": arguments}]
        case "thinking":
            thought = {"type": "thinking_delta", "thinking": block["thinking"]}
            signed = {"type": "signature_delta", "signature": block["signature"]}
            return {**block, "thinking": "", "signature": ""}, [thought, signed]
        case _:
            return block, []


def _event(kind: str, **content: Any) -> bytes:
    return encode({"type": kind, **content}, kind)
