"""OpenAI's chat stream: one whole completion from its chunks, and its chunks from a whole completion."""

from typing import Any

import orjson

from deployments.protocols import Usage
from serve_app.chat.dialects.events import events_of
from serve_app.http.sse import DONE, encode


def text_of(event: dict[str, Any]) -> str:
    """The text that an event adds to the first choice."""
    choices = event.get("choices") or [{}]
    content = (choices[0].get("delta") or {}).get("content")
    return content if isinstance(content, str) else ""


class Completion:
    """Builds the completion that a stream of plain text amounts to. penstock: what the `local` provider says."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.usage: dict[str, Any] | None = None
        self.penstock: dict[str, Any] | None = None
        self._head: dict[str, Any] = {}
        self._finish_reason: str | None = None
        self._plain = True

    def add(self, events: bytes) -> None:
        """Take whole events in."""
        for event in events_of(events):
            self.add_event(event)

    def add_event(self, event: dict[str, Any]) -> None:
        """Take one event in."""
        self._head = self._head or {name: event[name] for name in ("id", "created", "model") if name in event}
        self.usage = event.get("usage") or self.usage
        if "answered" in (stated := event.get("penstock") or {}):
            self.penstock = stated
        for choice in event.get("choices") or ():
            delta = choice.get("delta") or {}
            self._plain = self._plain and not choice.get("index") and not _more_than_text(delta)
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
            if isinstance(delta.get("content"), str):
                self.text.append(delta["content"])

    def body(self, used: Usage | None) -> bytes | None:
        """The chat completion as JSON; None when it is more than one choice of text or did not come to an end. used:
        stands for the usage that the stream did not tell."""
        if not self._plain or self._finish_reason is None:
            return None
        message = {"role": "assistant", "content": "".join(self.text), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish_reason}
        whole: dict[str, Any] = {**self._head, "object": "chat.completion", "choices": [choice]}
        usage = self.usage or (_stated(used) if used is not None else None)
        if usage is not None:
            whole["usage"] = usage
        if self.penstock is not None:
            whole["penstock"] = self.penstock
        return orjson.dumps(whole)


def replayed(body: bytes, *, include_usage: bool) -> bytes:
    """A stored completion as the stream that a client asked for."""
    whole = orjson.loads(body)
    head = {name: whole[name] for name in ("id", "created", "model") if name in whole}
    head["object"] = "chat.completion.chunk"
    choices = whole.get("choices") or []
    begin = [{"index": c["index"], "delta": _delta(c["message"]), "finish_reason": None} for c in choices]
    end: dict[str, Any] = {
        **head,
        "choices": [{"index": c["index"], "delta": {}, "finish_reason": c.get("finish_reason")} for c in choices],
    }
    if "penstock" in whole:
        end["penstock"] = whole["penstock"]
    events = encode({**head, "choices": begin}) + encode(end)
    if include_usage and "usage" in whole:
        events += encode({**head, "choices": [], "usage": whole["usage"]})
    return events + DONE


def _stated(used: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": used.input_tokens,
        "completion_tokens": used.output_tokens,
        "total_tokens": used.input_tokens + used.output_tokens,
        "prompt_tokens_details": {"cached_tokens": used.cached_tokens},
    }


def _more_than_text(delta: dict[str, Any]) -> bool:
    """Whether a delta says anything but a role and text. Providers send fields that are null."""
    return any(value is not None and name not in ("role", "content") for name, value in delta.items())


def _delta(message: dict[str, Any]) -> dict[str, Any]:
    delta = {name: value for name, value in message.items() if value is not None}
    if "tool_calls" in delta:
        delta["tool_calls"] = [{"index": n, **call} for n, call in enumerate(delta["tool_calls"])]
    return delta
