"""The simulator's sockets: one port for all providers and, when asked for, one of each provider's own."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any

import orjson
from pydantic import ValidationError

from load.parent import parent_gone
from load.simulator import control
from load.simulator.connection import Connection
from load.simulator.errors import ProviderError, error_body
from load.simulator.http_answers import json_answer
from load.simulator.providers import PROVIDERS, ROUTES
from load.simulator.service import Exchange, Service


class Simulator:
    """Answers every path, and holds the listening sockets."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.counts = service.counts
        self._loop: asyncio.AbstractEventLoop | None = None
        self._servers: dict[str, asyncio.Server] = {}
        self._numbers: dict[str, int] = {}
        self._changing: set[asyncio.Task[None]] = set()
        self._own: dict[bytes, Callable[[bytes], bytes]] = {
            b"/counts": lambda _: orjson.dumps(self.counts.as_json()),
            b"/bills": lambda _: orjson.dumps(self.counts.bills()),
            b"/requests": lambda _: orjson.dumps(self.counts.last_requests()),
            b"/control": self._control,
        }

    # Handler

    def handle(self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> Exchange:
        """The answer to one request."""
        path = target.partition(b"?")[0]
        route = ROUTES.get((method, path))
        if route is not None:
            self.counts.arrived(method, target, headers, body)
            return self.service.answer(route, dict(headers), body)
        own = self._own.get(path)
        if own is not None:
            try:
                return Exchange(None, ready=json_answer(200, own(body)))
            except (ValueError, ValidationError) as error:
                return Exchange(None, ready=self.refuse(400, str(error)))
        return Exchange(None, ready=self.refuse(404, f"No such path: {method.decode()} {path.decode('latin-1')}"))

    def refuse(self, status: int, message: str) -> bytes:
        """An error in OpenAI's shape."""
        kind = {404: "not_found", 413: "too_large"}.get(status, "invalid")
        return json_answer(status, error_body("openai", ProviderError(status, kind, message)))

    def _control(self, body: bytes) -> bytes:
        control.apply(orjson.loads(body), self.service, self._listen)
        return b'{"ok":true}'

    # sockets

    async def serve(self, port: int, *, own_ports: bool = False) -> None:
        """Listen on 127.0.0.1, print the URL, serve until told to stop or the parent is gone."""
        loop = self._loop = asyncio.get_running_loop()
        parent = os.getppid()
        server = await loop.create_server(self._connection, "127.0.0.1", port)
        bound = server.sockets[0].getsockname()[1]
        started: dict[str, Any] = {"url": f"http://127.0.0.1:{bound}", "pid": os.getpid()}
        if own_ports:
            for name in PROVIDERS:
                await self._open(name)
            started["ports"] = self._numbers
        end = asyncio.ensure_future(parent_gone(parent))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end.cancel)
        print(orjson.dumps(started).decode(), flush=True)
        with contextlib.suppress(asyncio.CancelledError):
            await end
        for one in (server, *self._servers.values()):
            one.close()

    def _connection(self) -> Connection:
        return Connection(self)

    async def _open(self, name: str) -> None:
        assert self._loop is not None
        if name not in self._servers:
            server = await self._loop.create_server(self._connection, "127.0.0.1", self._numbers.get(name, 0))
            self._servers[name] = server
            self._numbers[name] = server.sockets[0].getsockname()[1]

    def _listen(self, name: str, listening: bool) -> None:
        """Open or close a provider's own port: closed, a connect is refused. What is connected already stays."""
        if name not in self._numbers:
            raise control.ControlError(f"{name} has no port of its own: start with --ports.")
        if listening and name not in self._servers:
            assert self._loop is not None
            task = self._loop.create_task(self._open(name))
            self._changing.add(task)
            task.add_done_callback(self._changing.discard)
        elif not listening and name in self._servers:
            self._servers.pop(name).close()
