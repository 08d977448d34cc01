"""Writes answers as OpenAI's responses and their events.

Texts and refusals that follow each other are parts of one `message` item; every stretch of reasoning and every call is
an item of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deployments.provider_caller.translators.answers.identifiers import core
from deployments.provider_caller.translators.answers.output_items import Item, MessageItem, open_item
from deployments.provider_caller.translators.answers.pieces import (
    CUT,
    Began,
    Cited,
    Counted,
    Ended,
    PartBegan,
    PartDelta,
    PartEnded,
    Piece,
)
from deployments.provider_caller.translators.answers.response_object import new_response
from deployments.provider_caller.translators.answers.token_counts import TokenCounts, to_responses
from kit.errors import UpstreamError

Event = dict[str, Any]


def write_whole(pieces: Sequence[Piece], request: Mapping[str, Any], clock: Callable[[], float]) -> dict[str, Any]:
    """A whole response: what the stream's last event would hold."""
    writer = ResponsesStreamWriter(request, clock)
    for piece in pieces:
        writer.write(piece)
    response: dict[str, Any] = writer.end()[-1]["response"]
    return response


class ResponsesStreamWriter:
    """Writes events."""

    def __init__(self, request: Mapping[str, Any], clock: Callable[[], float]) -> None:
        self._request = request
        self._clock = clock
        self._sequence = 0
        self._answer = ""
        self._response: dict[str, Any] = {}
        self._output: list[dict[str, Any]] = []
        self._item: Item | None = None
        self._counts: TokenCounts | None = None
        self._ended: Ended | None = None

    def write(self, piece: Piece) -> list[Event]:
        """The events for one piece."""
        return self._numbered(self._events(piece))

    def end(self) -> list[Event]:
        """The end of the open item, and the whole response."""
        if self._ended is None:
            raise UpstreamError("The provider ended its answer without a reason.")
        reason = self._ended.reason
        cut = reason in CUT
        events = self._close_item("incomplete" if cut else "completed")
        filtered = reason in ("content_filter", "refusal")
        status = "incomplete" if cut or filtered else "completed"
        details = {"reason": "max_output_tokens" if cut else "content_filter"} if status == "incomplete" else None
        response = {
            **self._response,
            "status": status,
            "incomplete_details": details,
            "output": self._output,
            "usage": to_responses(self._counts) if self._counts else None,
        }
        return self._numbered([*events, {"type": f"response.{status}", "response": response}])

    def _events(self, piece: Piece) -> list[Event]:
        match piece:
            case Began():
                return self._begin(piece)
            case PartBegan():
                return self._open_part(piece)
            case PartDelta():
                return self._open.delta(piece.text)
            case Cited():
                return self._open.cite(piece)
            case PartEnded():
                return self._end_part(piece)
            case Counted():
                self._counts = piece.counts
            case Ended():
                self._ended = piece
        return []

    def _begin(self, began: Began) -> list[Event]:
        self._answer = core(began.id)
        created = int(self._clock()) if began.created is None else began.created
        model = began.model or str(self._request.get("model") or "")
        self._response = new_response(f"resp_{self._answer}", created, model, self._request)
        return [
            {"type": "response.created", "response": self._response},
            {"type": "response.in_progress", "response": self._response},
        ]

    @property
    def _open(self) -> Item:
        assert self._item is not None
        return self._item

    def _open_part(self, part: PartBegan) -> list[Event]:
        if isinstance(self._item, MessageItem) and part.kind in ("text", "refusal"):
            return self._item.open_part(part.kind)
        events = self._close_item("completed")
        self._item = open_item(part, self._answer, len(self._output))
        return events + self._item.begin()

    def _end_part(self, ended: PartEnded) -> list[Event]:
        # A message stays open: more text may follow, and only the end tells whether it is complete.
        events = self._open.end_part(ended.state)
        return events if isinstance(self._item, MessageItem) else events + self._close_item("completed")

    def _close_item(self, status: str) -> list[Event]:
        if self._item is None:
            return []
        item, self._item = self._item, None
        events = item.end(status)
        self._output.append(item.done)
        return events

    def _numbered(self, events: Sequence[Event]) -> list[Event]:
        numbered = []
        for event in events:
            numbered.append({**event, "sequence_number": self._sequence})
            self._sequence += 1
        return numbered
