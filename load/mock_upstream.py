"""A fast OpenAI-compatible server on loopback, to stand behind the product in benchmarks and tests.

    python -m load.mock_upstream --port 0 --tokens 20

prints one JSON line, `{"url": "http://127.0.0.1:PORT", "pid": PID}`, serves until SIGTERM or SIGINT, and ends when the
process that started it is gone. POST /v1/chat/completions (stream and not), POST /v1/embeddings, GET /v1/models;
GET /counts says what was asked of it.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import cast

import httptools
import orjson
import uvloop

from load import mock_replies
from load.parent import parent_gone

MAX_BODY_BYTES = 64 * 1024 * 1024
_REASONS = {200: b"OK", 400: b"Bad Request", 404: b"Not Found", 413: b"Content Too Large"}
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)


@dataclass(slots=True)
class Counts:
    """What the clients did, since the start. `requests` are those to /v1; a stream cancelled is one whose client left
    before `[DONE]` was written; `streams_open` and `connections_open` are of this moment."""

    requests: int = 0
    chat: int = 0
    embeddings: int = 0
    streams_started: int = 0
    streams_completed: int = 0
    streams_cancelled: int = 0
    streams_open: int = 0
    connections_open: int = 0


class MockUpstream:
    """What all connections share. `latency` seconds pass before an answer starts, `token_interval` between tokens;
    an interval of 0 writes the whole stream at once."""

    def __init__(self, *, tokens: int = 20, latency: float = 0.0, token_interval: float = 0.0) -> None:
        self.replies = mock_replies.ChatReplies(tokens)
        self.latency = latency
        self.token_interval = token_interval
        self.counts = Counts()


class Connection(asyncio.Protocol):
    """One keep-alive connection; one request at a time."""

    def __init__(self, upstream: MockUpstream) -> None:
        self._upstream = upstream
        self._counts = upstream.counts
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._body: list[bytes] = []
        self._size = 0
        self._busy = False
        self._events: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._may_write = True

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        self._counts.connections_open += 1

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102
        self._counts.connections_open -= 1
        if self._timer is not None:
            self._timer.cancel()
        if self._events:
            self._events = []
            self._counts.streams_open -= 1
            self._counts.streams_cancelled += 1

    def data_received(self, data: bytes) -> None:  # noqa: D102
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(400, "The request is not HTTP/1.1.")

    def pause_writing(self) -> None:  # noqa: D102
        self._may_write = False

    def resume_writing(self) -> None:  # noqa: D102
        self._may_write = True

    # httptools

    def on_message_begin(self) -> None:  # noqa: D102
        self._target = b""
        self._body = []
        self._size = 0

    def on_url(self, url: bytes) -> None:  # noqa: D102
        self._target += url

    def on_body(self, body: bytes) -> None:  # noqa: D102
        self._size += len(body)
        if self._size <= MAX_BODY_BYTES:
            self._body.append(body)

    def on_message_complete(self) -> None:  # noqa: D102
        if self._transport.is_closing():
            return
        if self._busy:
            self._refuse(400, "One request at a time: pipelining is not supported.")
        elif self._size > MAX_BODY_BYTES:
            self._refuse(413, f"The body is larger than {MAX_BODY_BYTES} bytes.")
        elif self._upstream.latency and self._target != b"/counts":
            self._busy = True
            self._timer = self._loop.call_later(self._upstream.latency, self._route)
        else:
            self._route()

    # answers

    def _route(self) -> None:
        self._busy = False
        target = self._target.partition(b"?")[0]
        route = (self._parser.get_method(), target)
        if target.startswith(b"/v1/"):
            self._counts.requests += 1
        if route == (b"POST", b"/v1/chat/completions"):
            self._with_json(self._chat)
        elif route == (b"POST", b"/v1/embeddings"):
            self._with_json(self._embed)
        elif route == (b"GET", b"/v1/models"):
            self._answer(200, mock_replies.models())
        elif route == (b"GET", b"/counts"):
            self._answer(200, orjson.dumps(asdict(self._counts)))
        else:
            self._answer(404, mock_replies.error(f"No such path: {target.decode('latin-1')}"))

    def _with_json(self, handle: Callable[[dict[str, object]], None]) -> None:
        try:
            body = orjson.loads(b"".join(self._body))
        except orjson.JSONDecodeError as error:
            self._answer(400, mock_replies.error(f"The body is not JSON: {error}"))
            return
        if not isinstance(body, dict) or not isinstance(body.get("model"), str):
            self._answer(400, mock_replies.error("`model` must be a string."))
            return
        handle(body)

    def _chat(self, body: dict[str, object]) -> None:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            self._answer(400, mock_replies.error("`messages` must be a list with at least one message."))
            return
        self._counts.chat += 1
        replies, model = self._upstream.replies, str(body["model"])
        size = mock_replies.prompt_size(messages)
        if not body.get("stream"):
            self._answer(200, replies.completion(self._counts.chat, model, size))
            return
        options = body.get("stream_options")
        include_usage = isinstance(options, dict) and options.get("include_usage") is True
        self._counts.streams_started += 1
        self._counts.streams_open += 1
        self._busy = True
        self._events = replies.events(self._counts.chat, model, size, include_usage=include_usage)
        self._start_stream()

    def _embed(self, body: dict[str, object]) -> None:
        given = body.get("input")
        texts = [given] if isinstance(given, str) else given
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            self._answer(400, mock_replies.error("`input` must be a string or a list of strings."))
            return
        self._counts.embeddings += 1
        as_base64 = body.get("encoding_format") == "base64"
        self._answer(200, mock_replies.embeddings(str(body["model"]), texts, as_base64=as_base64))

    def _start_stream(self) -> None:
        if not self._upstream.token_interval:
            events, self._events = self._events, []
            self._transport.write(_STREAM_HEAD + b"".join(map(_chunk, events)) + b"0\r\n\r\n")
            self._end_stream()
            return
        self._transport.write(_STREAM_HEAD)
        self._next_event()

    def _next_event(self) -> None:
        if self._may_write:
            self._transport.write(_chunk(self._events.pop(0)))
        if self._events:
            self._timer = self._loop.call_later(self._upstream.token_interval, self._next_event)
        else:
            self._transport.write(b"0\r\n\r\n")
            self._end_stream()

    def _end_stream(self) -> None:
        self._busy = False
        self._counts.streams_open -= 1
        self._counts.streams_completed += 1
        if not self._parser.should_keep_alive():
            self._transport.close()

    def _answer(self, status: int, body: bytes) -> None:
        head = b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._transport.write(head % (status, _REASONS[status], len(body)) + body)
        if not self._parser.should_keep_alive():
            self._transport.close()

    def _refuse(self, status: int, message: str) -> None:
        if not self._transport.is_closing():
            self._answer(status, mock_replies.error(message))
            self._transport.close()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def serve(upstream: MockUpstream, port: int) -> None:
    """Listen on 127.0.0.1, print the URL, serve until told to stop or the parent is gone."""
    loop = asyncio.get_running_loop()
    parent = os.getppid()
    server = await loop.create_server(lambda: Connection(upstream), "127.0.0.1", port)
    bound = server.sockets[0].getsockname()[1]
    end = asyncio.ensure_future(parent_gone(parent))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.cancel)
    print(orjson.dumps({"url": f"http://127.0.0.1:{bound}", "pid": os.getpid()}).decode(), flush=True)
    with contextlib.suppress(asyncio.CancelledError):
        await end
    server.close()


def main(arguments: list[str] | None = None) -> int:
    """Command line. Exit code 0 after a stop, 2 for wrong arguments or a port in use."""
    parser = argparse.ArgumentParser(prog="python -m load.mock_upstream", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0 (default): any free port")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="wait before each answer")
    parser.add_argument("--tokens", type=int, default=20, help="tokens of each answer (default 20)")
    parser.add_argument("--token-interval-ms", type=float, default=0.0, help="0: the whole stream in one write")
    options = parser.parse_args(arguments)
    if not 0 <= options.port <= 65535 or options.tokens < 0 or options.latency_ms < 0 or options.token_interval_ms < 0:
        parser.error("ports are 0 to 65535, the other numbers not negative")
    upstream = MockUpstream(
        tokens=options.tokens, latency=options.latency_ms / 1000, token_interval=options.token_interval_ms / 1000
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(upstream, options.port))
    except OSError as error:
        parser.error(f"cannot listen on port {options.port}: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
