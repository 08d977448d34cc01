"""Watches a provider's event stream as it passes: how it ends, whether it reports an error, what it used.

Ordinary pieces are searched for three marks and not parsed.
"""

import re
from dataclasses import dataclass
from typing import Any

import orjson

from deployments.protocols import Usage
from deployments.provider_caller.refusals import error_message
from deployments.provider_caller.sse import Event, event_at, parse_events
from deployments.provider_caller.usage import read_usage
from kit.errors import UpstreamError

_DONE = b"[DONE]"
_ERROR = b'"error"'
_USAGE = re.compile(rb'"usage"\s*:\s*\{')


@dataclass(slots=True)
class StreamWatch:
    """What is known of the stream so far. `ended`: nothing may follow what was passed on."""

    usage: Usage | None = None
    done: bool = False
    failed: bool = False

    @property
    def ended(self) -> bool:
        """Whether the provider ended the stream itself, well or badly."""
        return self.done or self.failed

    def open(self, events: bytes) -> bool:
        """Whether whole events hold the stream's first real one. Raises UpstreamError if that is no good.

        Comments may come before it (some providers send them while they wait); they promise nothing.
        """
        first = next(parse_events(events), None)
        if first is None:
            return False
        if first.data == _DONE:
            raise UpstreamError("The provider ended its answer before it began.")
        chunk = _json_object(first)
        if chunk is None:
            raise UpstreamError("The provider's answer is not what its API promises.")
        if chunk.get("error"):
            raise UpstreamError(f"The provider failed: {error_message(chunk['error']) or 'it gave no reason'}.")
        return True

    def see(self, events: bytes) -> bytes:
        """Note what whole events say; give back those to pass on: all, up to the one that ends the stream."""
        position = 0
        while (mark := _next_mark(events, position)) is not None:
            event = event_at(events, mark, position)
            if event is None:
                position = mark + 1  # Nothing but a comment.
                continue
            self._read(event)
            if self.ended:
                return events[: event.end]
            position = event.end
        return events

    def _read(self, event: Event) -> None:
        if event.data == _DONE:
            self.done = True
            return
        chunk = _json_object(event)
        if chunk is None:
            return
        if chunk.get("error"):
            self.failed = True
        self.usage = read_usage(chunk.get("usage")) or self.usage


def _next_mark(events: bytes, position: int) -> int | None:
    """Where the next sign of an event worth reading is. It may turn out to be part of a text."""
    usage = _USAGE.search(events, position)
    found = [events.find(_DONE, position), events.find(_ERROR, position), usage.start() if usage else -1]
    return min((place for place in found if place >= 0), default=None)


def _json_object(event: Event) -> dict[str, Any] | None:
    try:
        content = orjson.loads(event.data)
    except orjson.JSONDecodeError:
        return None
    return content if isinstance(content, dict) else None


def error_event(message: str, code: str) -> bytes:
    """An OpenAI-style error as the last event of a stream that cannot end well."""
    error = {"message": message, "type": "upstream_error", "param": None, "code": code.lower()}
    return b"data: " + orjson.dumps({"error": error}) + b"\n\n"
