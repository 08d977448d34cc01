"""A provider on loopback whose behaviour each test sets, and a caller that is pointed at it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from deployments.protocols import Account, ProviderRequest
from deployments.provider_caller.config import ProviderCallerConfig, ProviderKeys
from deployments.provider_caller.stage import ProviderCallerStage

Script = Callable[[web.Request], Awaitable[web.StreamResponse]]

BODY = b'{"model":"gpt-6-luna",  "messages":[{"role":"user","content":"Hi"}]}'


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


class NoEmbedder:
    """For calls that embed nothing."""

    async def embed(self, texts: object, *, tokens: bool = False) -> None:
        raise AssertionError("nothing should be embedded")


@pytest.fixture
async def caller(provider: LoopbackProvider) -> AsyncIterator[ProviderCallerStage]:
    """Calls the loopback provider under the name of openai."""
    config = ProviderCallerConfig(
        keys=ProviderKeys(openai="sk-secret"), base_urls={"openai": provider.url}, connect_timeout=2
    )
    stage = ProviderCallerStage(config, NoEmbedder())  # type: ignore[arg-type]
    await stage.start()
    yield stage
    await stage.close()


@pytest.fixture
def ask() -> Callable[..., ProviderRequest]:
    """Builds a request to the loopback provider."""

    def build(
        provider: str = "openai", model: str = "gpt-6-luna", timeout: float = 10, **more: object
    ) -> ProviderRequest:
        fields = {"account": Account("t"), "body": BODY, "request_id": "req-1", "operation": "chat", **more}
        targets = ((provider, model),)
        return ProviderRequest(targets=targets, dialect="openai_chat", timeout=timeout, **fields)  # type: ignore[arg-type]

    return build


def events(*chunks: bytes) -> Script:
    """A script that streams pieces one by one, each given to the socket before the next."""

    async def script(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0.005)
        await response.write_eof()
        return response

    return script


@pytest.fixture
def stream_of() -> Callable[..., Script]:
    return events
