"""Tells the cost of a stream inside it: it is known when the answer has ended, and headers are out by then."""

import re

import orjson

from serve_app.chat.answers import NANO


class CostNote:
    """Holds the closing event of a stream back until the cost is known, and writes `penstock: {"cost_usd"}` into it.

    Everything before that event passes at once. mark: finds the event; None: nothing is held back.
    """

    def __init__(self, mark: re.Pattern[bytes] | None) -> None:
        self._mark = mark
        self._held = b""
        self._place = 0

    def pass_on(self, events: bytes) -> bytes:
        """Whole events in; out come those that can go on."""
        if self._held:
            self._held += events
            return b""
        found = self._mark.search(events) if self._mark is not None else None
        if found is None:
            return events
        boundary = events.rfind(b"\n\n", 0, found.start())
        first = boundary + 2 if boundary >= 0 else 0
        line_end = events.find(b"\n", found.end())
        self._held, self._place = events[first:], events.rfind(b"}", 0, line_end) - first
        return events[:first]

    def end(self, cost: int | None) -> bytes:
        """What was held back. cost: nano-dollars, None where it is unknown or the stream did not end well."""
        if not self._held or cost is None:
            return self._held
        note = b',"penstock":' + orjson.dumps({"cost_usd": cost / NANO})
        return self._held[: self._place] + note + self._held[self._place :]
