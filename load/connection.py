"""One keep-alive connection of a closed-loop run."""

import asyncio
import time
from collections.abc import Iterator
from typing import Protocol, cast

import httptools

from load.load_run import LoadResult
from load.sse import EventCounter

SAMPLE_BYTES = 2000


class Run(Protocol):
    """What all connections of a run share."""

    requests: Iterator[bytes]
    result: LoadResult
    stream: bool

    def may_send(self) -> bool:
        """Take one of the remaining requests; False once time or count are used up."""
        ...


class Connection(asyncio.Protocol):
    """Sends, waits for the whole answer, sends the next. `closed` is done when the connection is."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._result = run.result
        self._waiting = False
        self._started = 0
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def waits_since(self) -> int | None:
        """When the request in flight was sent, nanoseconds of `perf_counter_ns`; None without one."""
        return self._started if self._waiting else None

    def abort(self, error: str) -> None:
        """Give the request in flight up and close."""
        if self._waiting:
            self._fail(error)
        self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)
        self._send()

    def data_received(self, data: bytes) -> None:  # noqa: D102
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.abort("not HTTP")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102
        if self._waiting:
            self._fail("disconnected")
        if not self.closed.done():
            self.closed.set_result(None)

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: D102
        if name.lower() == b"x-penstock-cache":
            _count(self._result.cache, value.decode("latin-1"))

    def on_body(self, body: bytes) -> None:  # noqa: D102
        if len(self._body) < SAMPLE_BYTES:
            self._body += body[:SAMPLE_BYTES]
        if self._run.stream:
            before = self._events.events
            self._events.feed(body)
            if not before and self._events.events:
                self._first_event = time.perf_counter_ns() - self._started

    def on_message_complete(self) -> None:  # noqa: D102
        if not self._waiting:
            return
        took = time.perf_counter_ns() - self._started
        status = self._parser.get_status_code()
        _count(self._result.statuses, str(status))
        error = self._error(status)
        if error:
            self._fail(error)
        else:
            self._succeed(took)
        if self._parser.should_keep_alive():
            self._send()
        else:
            self._transport.close()

    def _send(self) -> None:
        if not self._run.may_send():
            self._transport.close()
            return
        self._body = b""
        self._events = EventCounter()
        self._first_event = 0
        self._waiting = True
        request = next(self._run.requests)
        self._started = time.perf_counter_ns()
        self._transport.write(request)

    def _error(self, status: int) -> str | None:
        if not 200 <= status < 300:
            return f"status {status}"
        if self._run.stream and self._events.failed:
            return "error event"
        if self._run.stream and not self._events.done:
            return "stream without [DONE]"
        return None

    def _succeed(self, nanoseconds: int) -> None:
        self._waiting = False
        result = self._result
        result.latencies.append(nanoseconds // 1000)
        if self._run.stream:
            result.events += self._events.events
            if self._first_event:
                result.first_events.append(self._first_event // 1000)
        if not result.sample:
            result.sample = self._body.decode("utf-8", "replace")

    def _fail(self, error: str) -> None:
        self._waiting = False
        _count(self._result.errors, error)
        if not self._result.error_sample:
            self._result.error_sample = self._body.decode("utf-8", "replace")


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1
