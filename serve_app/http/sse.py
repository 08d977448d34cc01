"""Server-sent events: the response that carries them, and their encoding."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kit.errors import DeadlineError, PenstockError
from serve_app.http import context, errors, log

HEARTBEAT_SECONDS = 15.0
PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"

HEADERS = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
"""Keeps proxies from holding events back."""


def encode(data: Any, event: str | None = None) -> bytes:
    """One event with a JSON payload."""
    prefix = f"event: {event}\n".encode() if event else b""
    return prefix + b"data: " + orjson.dumps(data) + b"\n\n"


async def close(events: AsyncIterator[Any]) -> None:
    """End an iterator now, so that what feeds it ends too, and not when the garbage collector comes by."""
    aclose = getattr(events, "aclose", None)
    if aclose is not None:
        await aclose()


class EventStream(Response):
    """Sends events as they come, in the request's own task.

    The iterator is closed at once when the client leaves, when the deadline passes and when an event cannot be made.
    A failure after the first byte becomes the last event (`render_error`), and nothing follows it. A comment goes out
    after every `heartbeat` seconds of silence.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncIterator[bytes],
        *,
        render_error: Callable[[PenstockError, str], bytes],
        headers: Mapping[str, str] | None = None,
        heartbeat: float = HEARTBEAT_SECONDS,
    ) -> None:
        self.status_code = 200
        self.background = None
        self._events = events
        self._render_error = render_error
        self._heartbeat = heartbeat
        self.init_headers({**HEADERS, **(headers or {})})

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Like Starlette's, without a length."""
        self.body = b""
        super().init_headers(headers)
        self.raw_headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send everything; returns when the last byte is out or the client has gone."""
        request = context.of(scope)
        line = _Line(send)
        reader = asyncio.current_task()
        if reader is None:
            raise RuntimeError("An ASGI application runs in a task.")
        watcher = asyncio.create_task(_watch(receive, line, request, reader))
        line.beat_every(self._heartbeat)
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await self._send_events(request, line)
            await line.end()
        except asyncio.CancelledError:
            if not request.client_left:
                raise
            reader.uncancel()
        finally:
            watcher.cancel()
            line.stop()
            await close(self._events)

    async def _send_events(self, request: context.RequestContext, line: "_Line") -> None:
        try:
            async with asyncio.timeout(request.remaining()):
                async for events in self._events:
                    await line.write(events)
        except TimeoutError:
            await self._fail(DeadlineError("The time for this request is over."), request, line)
        except Exception as error:
            log.failure(error, request)
            await self._fail(errors.as_penstock(error), request, line)

    async def _fail(self, error: PenstockError, request: context.RequestContext, line: "_Line") -> None:
        request.failed = True
        await line.write(self._render_error(error, request.request_id))


class _Line:
    """The way out to the client, with the time of its last use.

    The heartbeat is a timer, and a task only when it writes: nearly every stream ends before its first.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._ping: asyncio.Task[None] | None = None
        self.ended = False

    async def write(self, body: bytes) -> None:
        self._last = self._loop.time()
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self) -> None:
        self.ended = True
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def beat_every(self, interval: float) -> None:
        """Write a comment after each interval of silence, until `stop`."""
        self._timer = self._loop.call_at(self._last + interval, self._beat, interval)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._ping is not None:
            self._ping.cancel()

    def _beat(self, interval: float) -> None:
        silent = self._loop.time() - self._last >= interval
        if silent and not self.ended and (self._ping is None or self._ping.done()):
            self._ping = self._loop.create_task(self.write(PING))
            self._last = self._loop.time()
        self.beat_every(interval)


async def _watch(
    receive: Receive, line: _Line, request: context.RequestContext, reader: "asyncio.Task[object]"
) -> None:
    """Stop the reader of the events when the client leaves before the end."""
    while (await receive())["type"] != "http.disconnect":
        pass
    if not line.ended:
        request.client_left = True
        reader.cancel()
