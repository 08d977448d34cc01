"""Server-sent events: the response that carries them, and their encoding."""

import asyncio
import contextlib
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
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - an ASGI application always runs in a task
        finished = False

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            if not finished:
                request.client_left = True
                task.cancel()

        async def write(body: bytes, *, more: bool = True) -> None:
            nonlocal last
            last = asyncio.get_running_loop().time()
            await send({"type": "http.response.body", "body": body, "more_body": more})

        async def beat() -> None:
            while True:
                silence = asyncio.get_running_loop().time() - last
                await asyncio.sleep(self._heartbeat - silence)
                if asyncio.get_running_loop().time() - last >= self._heartbeat:
                    await write(PING)

        last = asyncio.get_running_loop().time()
        companions = [asyncio.create_task(watch()), asyncio.create_task(beat())]
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await self._send_events(request, write)
            finished = True
            for companion in companions:
                companion.cancel()
            await write(b"", more=False)
        except asyncio.CancelledError:
            if not request.client_left:
                raise
            task.uncancel()
        finally:
            for companion in companions:
                companion.cancel()
            await close(self._events)

    async def _send_events(self, request: context.RequestContext, write: Callable[..., Any]) -> None:
        try:
            async with asyncio.timeout(request.remaining()):
                async for events in self._events:
                    await write(events)
        except TimeoutError:
            await self._fail(DeadlineError("The time for this request is over."), request, write)
        except Exception as error:
            log.failure(error, request)
            await self._fail(errors.as_penstock(error), request, write)

    async def _fail(self, error: PenstockError, request: context.RequestContext, write: Callable[..., Any]) -> None:
        request.failed = True
        with contextlib.suppress(OSError):
            await write(self._render_error(error, request.request_id))
