"""Server-sent events over bytes that arrive in any pieces (https://html.spec.whatwg.org/multipage/server-sent-events.html).

`EventSplitter` cuts a stream at the ends of whole events and changes no byte, so that events can be passed on as they
came. `parse_events` reads the events of such a piece; the pass-through calls it only where a piece looks special.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kit.errors import UpstreamError

MAX_EVENT_BYTES = 16 * 1024 * 1024

_LINE_END = rb"(?:\r\n|\n|\r(?!\n))"
_BOUNDARY = re.compile(_LINE_END + _LINE_END)
_LINES = re.compile(rb"\r\n|\n|\r")
_LONGEST_BOUNDARY = 4


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `data` is its data lines joined by newlines; `start` and `end` are where it stands in the bytes it
    was read from."""

    data: bytes
    type: bytes
    end: int
    start: int = 0


class EventSplitter:
    """Gathers bytes and gives back whole events, verbatim."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._pending = b""
        self._max_event_bytes = max_event_bytes

    @property
    def pending(self) -> bytes:
        """What has come of an event that is not whole yet."""
        return self._pending

    def feed(self, piece: bytes) -> bytes:
        """All events that this piece completes, empty if none. Raises UpstreamError for an event without an end."""
        seen = len(self._pending)
        buffer = self._pending + piece if seen else piece
        end = _last_boundary(buffer, max(0, seen - _LONGEST_BOUNDARY))
        self._pending = buffer[end:]
        if len(self._pending) > self._max_event_bytes:
            raise UpstreamError(f"The provider sent an event of more than {self._max_event_bytes} bytes.")
        return buffer[:end]


def _last_boundary(buffer: bytes, start: int) -> int:
    """Where the last whole event ends, 0 if none does. Nothing before `start` needs to be looked at again."""
    if b"\r" not in buffer:
        found = buffer.rfind(b"\n\n", start)
        return found + 2 if found >= 0 else 0
    # `\n\r` is most likely an unfinished `\r\n\r\n`, and clients look for the whole of it.
    stop = len(buffer) - 1 if buffer.endswith(b"\n\r") else len(buffer)
    end = 0
    for boundary in _BOUNDARY.finditer(buffer, start, stop):
        end = boundary.end()
    return end


def event_at(events: bytes, position: int, start: int = 0) -> Event | None:
    """The event that the byte at `position` belongs to; None where that is a comment. `start`: where to look from."""
    if b"\r" not in events:
        boundary = events.rfind(b"\n\n", start, position)
        start = boundary + 2 if boundary >= 0 else start
    return next((event for event in parse_events(events, start) if event.end > position), None)


def parse_events(events: bytes, start: int = 0) -> Iterator[Event]:
    """The events with data in a piece of whole events. Comments, ids and events without data are passed over.

    start: where to begin, the start of an event.
    """
    if b"\r" in events:
        yield from _parse_lines(events, start)
        return
    while (end := events.find(b"\n\n", start)) >= 0:
        block = events[start:end]
        if block.startswith(b"data: ") and b"\n" not in block:
            yield Event(block[6:], b"", end + 2, start)
        else:
            data, kind = _fields(block.split(b"\n"))
            if data:
                yield Event(b"\n".join(data), kind, end + 2, start)
        start = end + 2


def _parse_lines(events: bytes, start: int) -> Iterator[Event]:
    """For streams that end their lines in other ways, or in several."""
    lines: list[bytes] = []
    position = start
    while position < len(events):
        line_end = _LINES.search(events, position)
        stop, following = (line_end.start(), line_end.end()) if line_end else (len(events), len(events))
        line, position = events[position:stop], following
        if line:
            lines.append(line)
            continue
        data, kind = _fields(lines)
        if data:
            yield Event(b"\n".join(data), kind, position, start)
        lines, start = [], position


def _fields(lines: list[bytes]) -> tuple[list[bytes], bytes]:
    """The data lines of one event, and its type."""
    data: list[bytes] = []
    kind = b""
    for line in lines:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            kind = value
    return data, kind
