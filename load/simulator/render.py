"""Rendered answers, kept by all that they depend on: the number of the call is put in when they are sent."""

import functools
from dataclasses import dataclass
from typing import Any

import orjson

from load.simulator.counts import Counts
from load.simulator.generation import SERIAL
from load.simulator.reply import Dialect, Event, Reply
from load.simulator.validate import Judge, Problem

_SERIAL = SERIAL.encode()
LAST_CHUNK = b"0\r\n\r\n"
KEPT = 2_048


class InvalidReplyError(Exception):
    """The simulator itself would have broken the provider's types."""


@dataclass(frozen=True, slots=True, eq=False)
class RenderedEvent:
    """An event as bytes, and what `Event` says of it. output: bytes of output up to and including it."""

    data: bytes
    output: int
    event: Event


@dataclass(frozen=True, slots=True, eq=False)
class RenderedStream:
    """chunked: the whole stream as the body of a chunked answer."""

    events: tuple[RenderedEvent, ...]
    chunked: bytes

    def numbered(self, serial: int) -> tuple[RenderedEvent, ...]:
        """The events as those of this call."""
        return tuple(RenderedEvent(numbered(one.data, serial), one.output, one.event) for one in self.events)


class Renderer:
    """judge: None checks nothing. Raises InvalidReplyError for what it finds."""

    def __init__(self, judge: Judge | None, counts: Counts) -> None:
        self._judge = judge
        self._counts = counts
        self._keep_whole = functools.lru_cache(KEPT)(self._whole)
        self._keep_stream = functools.lru_cache(KEPT)(self._stream)

    def whole(self, schema: str, dialect: Dialect, reply: Reply) -> bytes:
        """The answer in one piece. schema: the name of its type in `schemas`."""
        return self._keep_whole(schema, dialect, reply)  # type: ignore[arg-type]

    def stream(self, schema: str, dialect: Dialect, reply: Reply) -> RenderedStream:
        """The answer as a stream."""
        return self._keep_stream(schema, dialect, reply)  # type: ignore[arg-type]

    def judged(self, schema: str, content: Any, *, event: bool = False) -> None:
        """Raises InvalidReplyError."""
        problem = None if self._judge is None else self._judge.reply(schema, content, event=event)
        if problem is not None:
            self._refuse(schema, problem, content)

    def _whole(self, schema: str, dialect: Dialect, reply: Reply) -> bytes:
        content = dialect.whole(reply)
        self.judged(schema, content)
        return orjson.dumps(content)

    def _stream(self, schema: str, dialect: Dialect, reply: Reply) -> RenderedStream:
        events = []
        output = 0
        for event in dialect.events(reply):
            # Anthropic's pings are no event of the SDK's types, and `[DONE]` is none of anybody's.
            if isinstance(event.content, dict) and event.name != "ping":
                self.judged(schema, event.content, event=True)
            output += event.output
            events.append(RenderedEvent(event.data, output, event))
        return RenderedStream(tuple(events), b"".join(chunk(event.data) for event in events) + LAST_CHUNK)

    def _refuse(self, schema: str, problem: Problem, content: Any) -> None:
        self._counts.invalid_replies += 1
        example = {"provider": schema, "message": problem.message, "body": orjson.dumps(content).decode()[:2000]}
        self._counts.invalid_examples.append(example)
        raise InvalidReplyError(problem.message)


def chunk(data: bytes) -> bytes:
    """One piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def numbered(data: bytes, serial: int) -> bytes:
    """The rendered bytes as those of this call."""
    return data.replace(_SERIAL, b"%012d" % serial)
