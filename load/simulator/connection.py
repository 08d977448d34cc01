"""One keep-alive connection: reads requests, plays answers."""

import asyncio
import socket
import struct
from typing import Protocol, cast

import httptools

from load.simulator.counts import Counts
from load.simulator.playback import Write
from load.simulator.service import Exchange

MAX_BODY_BYTES = 64 * 1024 * 1024
_RESET = struct.pack("ii", 1, 0)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Handler(Protocol):
    """What all connections share."""

    counts: Counts

    def handle(self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> Exchange:
        """The answer to one request."""
        ...

    def refuse(self, status: int, message: str) -> bytes:
        """The answer to what is no request."""
        ...


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._counts = handler.counts
        self._parser = httptools.HttpRequestParser(self)
        self._exchange: Exchange | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._may_write = True
        self._waits_for_client = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        self._counts.connections_open += 1

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102
        self._counts.connections_open -= 1
        if self._timer is not None:
            self._timer.cancel()
        exchange, self._exchange = self._exchange, None
        if exchange is not None and exchange.call is not None:
            self._counts.finished(exchange.call, "cancelled")

    def data_received(self, data: bytes) -> None:  # noqa: D102
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(400, "The request is not HTTP/1.1.")

    def pause_writing(self) -> None:  # noqa: D102
        self._may_write = False

    def resume_writing(self) -> None:  # noqa: D102
        self._may_write = True
        if self._waits_for_client:
            self._waits_for_client = False
            self._next_write()

    # httptools

    def on_message_begin(self) -> None:  # noqa: D102
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._size = 0

    def on_url(self, url: bytes) -> None:  # noqa: D102
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: D102
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:  # noqa: D102
        if (b"expect", b"100-continue") in self._headers:
            self._transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:  # noqa: D102
        self._size += len(body)
        if self._size <= MAX_BODY_BYTES:
            self._body.append(body)

    def on_message_complete(self) -> None:  # noqa: D102
        if self._transport.is_closing():
            return
        if self._exchange is not None:
            self._refuse(400, "One request at a time: pipelining is not supported.")
        elif self._size > MAX_BODY_BYTES:
            self._refuse(413, f"The body is larger than {MAX_BODY_BYTES} bytes.")
        else:
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            self._start(self._handler.handle(self._parser.get_method(), self._target, self._headers, body))

    # answers

    def _start(self, exchange: Exchange) -> None:
        self._exchange = exchange
        if exchange.wait:
            self._timer = self._loop.call_later(exchange.wait, self._answer)
        else:
            self._answer()

    def _answer(self) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        call = exchange.call
        if not exchange.ready:
            self._next_write()
            return
        if call is not None:
            self._counts.began(call)
        self._transport.write(exchange.ready)
        self._end("completed", "keep")

    def _next_write(self) -> None:
        """Play one write and wait for the time of the next one."""
        exchange = self._exchange
        if exchange is None or exchange.playback is None or self._transport.is_closing():
            return
        if not self._may_write:
            self._waits_for_client = True
            return
        playback = exchange.playback
        for write in playback.writes:
            if write.wait:
                self._timer = self._loop.call_later(write.wait, self._write_late, write)
                return
            self._write(write)
            if not self._may_write:
                self._waits_for_client = True
                return
        self._end(playback.state, playback.ending)

    def _write_late(self, write: Write) -> None:
        self._write(write)
        self._next_write()

    def _write(self, write: Write) -> None:
        exchange = self._exchange
        if exchange is None or exchange.playback is None or self._transport.is_closing():
            return
        call = exchange.call
        if call is not None:
            if not call.begun and exchange.playback.state != "refused":
                self._counts.began(call)
            call.emitted = max(call.emitted, write.output)
            call.states_input |= write.states_input
            call.states_usage |= write.states_usage
        self._transport.write(write.data)

    def _end(self, state: str | None, ending: str) -> None:
        if ending == "hang":
            return
        exchange, self._exchange = self._exchange, None
        if exchange is not None and exchange.call is not None and state is not None:
            self._counts.finished(exchange.call, state)
        if ending == "reset":
            self._reset()
        elif ending == "close" or not self._parser.should_keep_alive():
            self._transport.close()

    def _reset(self) -> None:
        """Close so that the client sees a reset and not an end."""
        connected = self._transport.get_extra_info("socket")
        if connected is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def _refuse(self, status: int, message: str) -> None:
        if not self._transport.is_closing():
            self._transport.write(self._handler.refuse(status, message))
            self._transport.close()
