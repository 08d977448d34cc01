"""A provider on loopback whose behaviour each test sets, and clients that are pointed at it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from aiohttp import web

from deployments.protocols import Dialect
from deployments.provider_caller.call import Call, Endpoint
from deployments.provider_caller.http_client import HttpClient
from deployments.provider_caller.providers.registry import load_registry
from kit.egress import EgressRules

Script = Callable[[web.Request], Awaitable[web.StreamResponse]]

BODY = b'{"model":"gpt-4o",  "messages":[{"role":"user","content":"Hi there"}]}'
STREAMED = BODY[:-1] + b',"stream":true}'
WITH_USAGE = BODY[:-1] + b',"stream":true,"stream_options":{"include_usage":true}}'


@dataclass
class LoopbackProvider:
    """`script` answers; `seen` holds each request's path, headers and body; `left` is set when a client hangs up."""

    url: str
    script: Script | None = None
    seen: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    connections: set[int] = field(default_factory=set)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        assert self.script is not None
        assert request.transport is not None
        self.seen.append((request.path, dict(request.headers), await request.read()))
        self.connections.add(request.transport.get_extra_info("peername")[1])
        try:
            return await self.script(request)
        except asyncio.CancelledError:
            self.left.set()
            raise


@pytest.fixture
async def provider() -> AsyncIterator[LoopbackProvider]:
    server = LoopbackProvider("")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield server
    await runner.cleanup()


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    made = HttpClient(
        load_registry(), connect_timeout=2, max_connections=16, max_answer_bytes=100_000, egress=EgressRules()
    )
    yield made
    await made.close()


@pytest.fixture
def endpoint(provider: LoopbackProvider) -> Callable[..., Endpoint]:
    """Points a provider at the loopback server."""

    def build(name: str = "openai", **fields: Any) -> Endpoint:
        return Endpoint(name, name.title(), **{"base_url": provider.url, "key": "sk-secret", **fields})

    return build


@pytest.fixture
def call() -> Callable[..., Call]:
    """Builds a call, to OpenAI in its own dialect unless said otherwise."""

    def build(body: bytes = BODY, *, dialect: Dialect = "openai_chat", **fields: Any) -> Call:
        content = orjson.loads(body)
        usual = {"provider": "openai", "model": content.get("model"), "request_id": "req-1"}
        limits = {"timeout": 10.0, "idle_timeout": 5.0, "stream": bool(content.get("stream"))}
        return Call(dialect=dialect, body=body, content=content, **{**usual, **limits, **fields})

    return build


def answers(body: bytes, status: int = 200, **headers: str) -> Script:
    """A script that answers with a whole body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def script(request: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers=named, content_type="application/json")

    return script


def streams(*chunks: bytes, cut: bool = False, hang: float = 0) -> Script:
    """A script that streams pieces one by one, each given to the socket before the next. cut: the connection breaks
    after them. hang: seconds of silence before the end."""

    async def script(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0.003)
        await asyncio.sleep(hang)
        if cut:
            assert request.transport is not None
            request.transport.abort()
        else:
            await response.write_eof()
        return response

    return script


@pytest.fixture
def script() -> Any:
    """The scripts of this module."""

    class Scripts:
        answers = staticmethod(answers)
        streams = staticmethod(streams)

    return Scripts
