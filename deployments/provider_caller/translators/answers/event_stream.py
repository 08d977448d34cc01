"""A stream in translation: a provider's events in, read as pieces, written as server-sent events of the caller's."""

from collections.abc import Sequence
from typing import Any

import orjson

from deployments.provider_caller.sse import Event
from deployments.provider_caller.translators.answers.pieces import Piece, StreamReader, StreamWriter
from kit.errors import UpstreamError

_DONE = b"[DONE]"


class EventStream:
    """named: whether events carry their type beside the data, as all dialects do but OpenAI's chat completions."""

    def __init__(self, reader: StreamReader, writer: StreamWriter, *, named: bool) -> None:
        self._reader = reader
        self._writer = writer
        self._named = named

    def feed(self, events: Sequence[Event]) -> bytes:
        """Whole events for the caller. Raises UpstreamError for what the provider's dialect does not allow."""
        pieces: list[Piece] = []
        for event in events:
            if event.data != _DONE:
                pieces += self._reader.read(_content(event))
        return self._written(pieces)

    def end(self) -> bytes:
        """What closes the stream. Raises UpstreamError where the provider's answer was not complete."""
        written = self._written(self._reader.end())
        closing = b"".join(self._encoded(event) for event in self._writer.end())
        return written + closing + (b"" if self._named else b"data: " + _DONE + b"\n\n")

    def _written(self, pieces: Sequence[Piece]) -> bytes:
        return b"".join(self._encoded(event) for piece in pieces for event in self._writer.write(piece))

    def _encoded(self, event: dict[str, Any]) -> bytes:
        name = b"event: " + event["type"].encode() + b"\n" if self._named else b""
        return name + b"data: " + orjson.dumps(event) + b"\n\n"


def _content(event: Event) -> Any:
    try:
        return orjson.loads(event.data)
    except orjson.JSONDecodeError as error:
        raise UpstreamError("The provider sent an event that is not JSON.") from error
