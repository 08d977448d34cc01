"""Watches a provider's event stream as it passes: how it ends, whether it reports an error, what it used.

Ordinary pieces are searched for a few marks and not parsed: a mark is a JSON key or an event's name as it stands in the
bytes, where the quotes of a text would be escaped. There is one watch for each dialect.
"""

import re
from typing import Any, ClassVar

import orjson

from deployments.protocols import Dialect, Usage
from deployments.provider_caller.sse import Event, event_at, parse_events
from deployments.provider_caller.usage import UsageReader

_DONE = b"[DONE]"
_ENDS = frozenset({"message_stop", "response.completed", "response.incomplete"})


class StreamWatch:
    """What is known of the stream so far.

    usage: as stated by now; `counted`: those are the final counts. done: it has ended well. failed: it has ended
    badly, or went wrong; `error` is what the provider said. told: the provider's own event says so, and has passed.
    finished: the model has ended its answer, though the stream may go on.
    """

    _finds: ClassVar[tuple[bytes, ...]]
    _pattern: ClassVar[re.Pattern[bytes] | None] = None

    def __init__(self, read_usage: UsageReader, *, choices: int = 1, hide_usage: bool = False) -> None:
        """choices: how many answers were asked for. hide_usage: the caller did not ask for the event with the usage."""
        self._read_usage = read_usage
        self._choices = choices
        self._hide_usage = hide_usage
        self.usage: Usage | None = None
        self.counted = False
        self.finished = False
        self.done = False
        self.failed = False
        self.told = False
        self.error: Any = None

    @property
    def ended(self) -> bool:
        """Whether nothing may follow what was passed on."""
        return self.done or self.failed

    def begins(self, events: bytes) -> bool:
        """Whether whole events, seen before, hold one that is part of an answer.

        Comments, pings, announcements and errors are none: a provider that dies after them can still be replaced.
        """
        for event in parse_events(events):
            content = _json_object(event.data)
            if content is not None and self._is_answer(content):
                return True
            if content is None and event.data != _DONE:
                self._fail(None)
        return False

    def see(self, events: bytes) -> bytes:
        """Note what whole events say; give back those to pass on, up to the one that ends the stream."""
        plain = events.count(b"}\n\n")
        # Where every event ends like JSON, none is `[DONE]`, and none was cut off by whoever stood in between.
        odd = plain != events.count(b"\n\n") or b"\r" in events
        if odd and (garbled := self._first_garbled(events, plain)) is not None:
            sound = self.see(events[: garbled.start])
            if not self.ended:
                self._fail(None)
            return sound
        marks = (*self._finds, _DONE) if odd else self._finds
        position = passed = 0
        kept: list[bytes] = []
        while (mark := self._next_mark(events, position, marks)) is not None:
            event = event_at(events, mark, position)
            if event is None:
                position = mark + 1  # Nothing but a comment.
                continue
            content = _json_object(event.data)
            if not self._read(event.data, content or {}):
                kept.append(events[passed : event.start])
                passed = event.end
            if self.ended:
                return b"".join((*kept, events[passed : event.end]))
            position = event.end
        return b"".join((*kept, events[passed:])) if kept else events

    def closing(self) -> bytes | None:
        """The provider has closed the stream without its last event: that event, if all that matters has come, else
        None."""
        return None

    def _read(self, data: bytes, content: dict[str, Any]) -> bool:
        """Note what a marked event says. False: it is not for the caller."""
        raise NotImplementedError

    def _is_answer(self, content: dict[str, Any]) -> bool:
        """Whether an event brings something of an answer."""
        raise NotImplementedError

    @staticmethod
    def _first_garbled(events: bytes, plain: int) -> Event | None:
        """The first event whose data is neither JSON nor `[DONE]`. plain: how many end like JSON."""
        if plain + events.count(b"[DONE]\n\n") == events.count(b"\n\n"):
            return None
        for event in parse_events(events):
            if event.data == _DONE:
                return None
            try:
                orjson.loads(event.data)
            except orjson.JSONDecodeError:
                return event
        return None

    def _fail(self, error: Any, *, told: bool = False) -> None:
        self.failed, self.told, self.error = True, told, error

    def _next_mark(self, events: bytes, position: int, marks: tuple[bytes, ...]) -> int | None:
        """Where the next sign of an event worth reading is. It may turn out to be part of a text."""
        match = self._pattern.search(events, position) if self._pattern else None
        first = match.start() if match else -1
        for mark in marks:
            place = events.find(mark, position) if first < 0 else events.find(mark, position, first)
            if place >= 0:
                first = place
        return first if first >= 0 else None


class ChatWatch(StreamWatch):
    """OpenAI's chunks. They end with `[DONE]`; a chunk without choices before it states the usage."""

    _finds = (b'"error"', b'"finish_reason":"', b'"finish_reason": "')
    _pattern = re.compile(rb'"usage"\s*:\s*\{')

    _finishes = 0

    def closing(self) -> bytes | None:
        """`[DONE]`, where every choice has its finish reason: some servers leave it out."""
        return b"data: [DONE]\n\n" if self.finished else None

    def _read(self, data: bytes, content: dict[str, Any]) -> bool:
        if data == _DONE:
            self.done = True
            return True
        if content.get("error"):
            self._fail(content["error"], told=True)
            return True
        of_groq = content.get("x_groq")
        of_groq = of_groq if isinstance(of_groq, dict) else {}
        if of_groq.get("error"):  # Groq stops a stream early by a chunk that looks well to others.
            self._fail(of_groq["error"])
            return False
        choices = content.get("choices")
        choices = choices if isinstance(choices, list) else []
        ends = sum(1 for choice in choices if isinstance(choice, dict) and choice.get("finish_reason"))
        self._finishes += ends
        self.finished = self._finishes >= self._choices
        usage = self._read_usage(content.get("usage") or of_groq.get("usage"))
        if usage is not None:
            self.usage, self.counted = usage, self.counted or not choices or self.finished
        return not (usage is not None and not choices and self._hide_usage)

    def _is_answer(self, content: dict[str, Any]) -> bool:
        choices = content.get("choices")
        return isinstance(choices, list) and not all(_is_role_only(choice) for choice in choices)


class MessagesWatch(StreamWatch):
    """Anthropic's events. `message_start` states the input, `message_delta` the output by then, `message_stop` ends."""

    _finds = (b'"message_', b'"error"')

    _NO_ANSWER = frozenset({"message_start", "ping", "content_block_start", "error"})

    def __init__(self, read_usage: UsageReader, *, choices: int = 1, hide_usage: bool = False) -> None:
        super().__init__(read_usage, choices=choices, hide_usage=hide_usage)
        self._stated: dict[str, Any] = {}

    def closing(self) -> bytes | None:
        """`message_stop`, where the stop reason has come."""
        return b'event: message_stop\ndata: {"type":"message_stop"}\n\n' if self.finished else None

    def _read(self, data: bytes, content: dict[str, Any]) -> bool:
        kind = content.get("type")
        if kind == "message_stop":
            self.done = True
        elif kind == "message_start":
            message = content.get("message")
            # The few output tokens stated here are those of the beginning, not a count of what follows.
            self._state(message.get("usage") if isinstance(message, dict) else None, output_tokens=0)
        elif kind == "message_delta":
            delta = content.get("delta")
            if isinstance(delta, dict) and delta.get("stop_reason"):
                self.finished = self.counted = True
            self._state(content.get("usage"))
        elif kind == "error":
            self._fail(content.get("error"), told=True)
        return True

    def _state(self, usage: Any, **fixed: int) -> None:
        if isinstance(usage, dict):
            self._stated |= {name: value for name, value in usage.items() if value is not None} | fixed
            self.usage = self._read_usage(self._stated)

    def _is_answer(self, content: dict[str, Any]) -> bool:
        return content.get("type") not in self._NO_ANSWER


class ResponsesWatch(StreamWatch):
    """OpenAI's response events. The last one holds the whole response with its usage, or says how it failed."""

    _finds = (b'"error"',)
    _pattern = re.compile(rb'"response\.(?:completed|incomplete|failed|cancelled)"')

    _WELL = frozenset({"response.completed", "response.incomplete"})
    _BADLY = frozenset({"response.failed", "response.cancelled"})
    _NO_ANSWER = _BADLY | {
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "error",
        None,
    }

    def _read(self, data: bytes, content: dict[str, Any]) -> bool:
        kind = content.get("type")
        if kind in self._WELL or kind in self._BADLY:
            answer = content.get("response")
            answer = answer if isinstance(answer, dict) else {}
            self.usage = self._read_usage(answer.get("usage")) or self.usage
            self.counted = self.usage is not None
            if kind in self._WELL:
                self.done = True
            else:
                self._fail(answer.get("error") or content.get("error"), told=True)
        elif kind == "error" or (kind is None and content.get("error")):
            self._fail(content.get("error") or content, told=True)
        return True

    def _is_answer(self, content: dict[str, Any]) -> bool:
        return content.get("type") not in self._NO_ANSWER


WATCHES: dict[Dialect, type[StreamWatch]] = {
    "openai_chat": ChatWatch,
    "openai_responses": ResponsesWatch,
    "anthropic_messages": MessagesWatch,
}


def is_good_end(block: bytes) -> bool:
    """Whether lines without an empty line after them are all the same the event that ends a stream well."""
    event = next(parse_events(block + b"\n\n"), None)
    if event is None:
        return False
    try:
        content = None if event.data == b"[DONE]" else orjson.loads(event.data)
    except orjson.JSONDecodeError:
        return False
    return content is None or (isinstance(content, dict) and content.get("type") in _ENDS)


def _is_role_only(choice: Any) -> bool:
    if not isinstance(choice, dict) or choice.get("finish_reason"):
        return False
    delta = choice.get("delta")
    return isinstance(delta, dict) and not any(value for name, value in delta.items() if name != "role")


def _json_object(data: bytes) -> dict[str, Any] | None:
    try:
        content = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return content if isinstance(content, dict) else None
