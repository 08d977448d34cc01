import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from aiohttp import web

from deployments.protocols import ProviderRequest, StreamStart
from deployments.provider_caller.stage import TOKENS
from kit.errors import DeadlineError, UpstreamError, UpstreamRefusedError
from kit.telemetry import METRICS

Ask = Callable[..., ProviderRequest]

HELLO = b'data: {"choices":[{"delta":{"content":"Hel"}}]}\n\n'
WORLD = b'data: {"choices":[{"delta":{"content":"lo [DONE]"}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"


async def collect(stream: Any) -> tuple[StreamStart, bytes]:
    items = [item async for item in stream]
    assert isinstance(items[0], StreamStart)
    return items[0], b"".join(item for item in items[1:] if isinstance(item, bytes))


def error_in(stream: bytes) -> dict[str, Any]:
    last = stream.rstrip(b"\n").split(b"\n\n")[-1]
    error: dict[str, Any] = orjson.loads(last.removeprefix(b"data: "))["error"]
    return error


async def test_a_stream_passes_through_byte_for_byte(provider: Any, caller: Any, ask: Ask, stream_of: Any) -> None:
    provider.script = stream_of(b": wait\n\n", HELLO[:10], HELLO[10:] + WORLD, b"\r\n" + USAGE, DONE)
    start, body = await collect(caller.stream(ask()))
    assert (start.provider, start.model) == ("openai", "gpt-6-luna")
    assert body == b": wait\n\n" + HELLO + WORLD + b"\r\n" + USAGE + DONE


async def test_usage_in_a_stream_is_counted(provider: Any, caller: Any, ask: Ask, stream_of: Any) -> None:
    provider.script = stream_of(HELLO, USAGE + DONE)
    before = METRICS.read(TOKENS, provider="openai", kind="input")
    await collect(caller.stream(ask()))
    assert METRICS.read(TOKENS, provider="openai", kind="input") - before == 4


async def test_ready_events_travel_together_and_the_first_does_not_wait(provider: Any, caller: Any, ask: Ask) -> None:
    more = asyncio.Event()

    async def script(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(HELLO)
        await more.wait()
        await response.write(WORLD * 20 + DONE)
        return response

    provider.script = script
    stream = caller.stream(ask())
    assert isinstance(await anext(stream), StreamStart)
    assert await anext(stream) == HELLO
    more.set()
    rest = [item async for item in stream if isinstance(item, bytes)]
    assert b"".join(rest) == WORLD * 20 + DONE
    assert len(rest) < 5


async def test_a_finished_streams_connection_is_used_again(
    provider: Any, caller: Any, ask: Ask, stream_of: Any
) -> None:
    provider.script = stream_of(HELLO, DONE)
    for _ in range(3):
        await collect(caller.stream(ask()))
    assert len(provider.connections) == 1


@pytest.mark.parametrize(
    "pieces", [[], [b": still thinking\n\n"], [HELLO[:20]], [DONE], [b"data: <html>\n\n"], [b"data: [1]\n\n"]]
)
async def test_a_stream_that_fails_before_its_first_event_is_raised(
    provider: Any, caller: Any, ask: Ask, stream_of: Any, pieces: list[bytes]
) -> None:
    provider.script = stream_of(*pieces)
    with pytest.raises(UpstreamError):
        await collect(caller.stream(ask()))


async def test_an_error_as_the_first_event_is_raised_with_its_words(
    provider: Any, caller: Any, ask: Ask, stream_of: Any
) -> None:
    provider.script = stream_of(b'data: {"error":{"message":"no capacity"}}\n\n')
    with pytest.raises(UpstreamError, match="no capacity"):
        await collect(caller.stream(ask()))


async def test_a_plain_json_error_in_place_of_events_is_raised_with_its_words(
    provider: Any, caller: Any, ask: Ask, stream_of: Any
) -> None:
    provider.script = stream_of(b'{"error":{"message":"no capacity"}}')
    with pytest.raises(UpstreamError, match="no capacity"):
        await collect(caller.stream(ask()))


async def test_a_refusal_of_a_streamed_request_is_raised(provider: Any, caller: Any, ask: Ask) -> None:
    async def refuses(request: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "no such model"}}, status=404)

    provider.script = refuses
    with pytest.raises(UpstreamRefusedError, match="no such model"):
        await collect(caller.stream(ask()))


@pytest.mark.parametrize("tail", [b"", WORLD[:-2]])
async def test_a_stream_that_ends_early_tells_so_and_is_never_done(
    provider: Any, caller: Any, ask: Ask, stream_of: Any, tail: bytes
) -> None:
    provider.script = stream_of(HELLO, tail) if tail else stream_of(HELLO)
    _, body = await collect(caller.stream(ask()))
    assert body.startswith(HELLO)
    assert error_in(body)["code"] == "upstream_error"
    assert b"lo" not in body
    assert DONE not in body


async def test_a_connection_cut_in_the_middle_tells_so_and_is_never_done(provider: Any, caller: Any, ask: Ask) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(HELLO)
        await asyncio.sleep(0.02)
        assert request.transport is not None
        request.transport.abort()
        return response

    provider.script = cut
    _, body = await collect(caller.stream(ask()))
    assert body.startswith(HELLO)
    assert "broke off" in error_in(body)["message"]
    assert DONE not in body


async def test_nothing_follows_an_error_that_the_provider_reports(
    provider: Any, caller: Any, ask: Ask, stream_of: Any
) -> None:
    failed = b'data: {"error":{"message":"GPU lost"}}\n\n'
    provider.script = stream_of(HELLO, failed + DONE)
    _, body = await collect(caller.stream(ask()))
    assert body == HELLO + failed


async def test_nothing_follows_the_end(provider: Any, caller: Any, ask: Ask, stream_of: Any) -> None:
    provider.script = stream_of(HELLO + DONE + WORLD)
    assert (await collect(caller.stream(ask())))[1] == HELLO + DONE


async def test_a_client_that_leaves_ends_the_upstream_call(provider: Any, caller: Any, ask: Ask) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(HELLO)
            await asyncio.sleep(0.01)

    provider.script = endless
    stream = caller.stream(ask(timeout=60))
    await anext(stream)
    await anext(stream)
    await stream.aclose()
    await asyncio.wait_for(provider.left.wait(), 5)


async def test_a_client_that_leaves_while_waiting_ends_the_upstream_call(provider: Any, caller: Any, ask: Ask) -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(HELLO)
        await asyncio.sleep(60)
        return response

    provider.script = silent
    task = asyncio.ensure_future(collect(caller.stream(ask(timeout=60))))
    while not provider.seen:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(provider.left.wait(), 5)


async def test_the_deadline_before_the_first_event_is_raised(provider: Any, caller: Any, ask: Ask) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b": wait\n\n")
        await asyncio.sleep(60)
        return response

    provider.script = slow
    with pytest.raises(DeadlineError):
        await collect(caller.stream(ask(timeout=0.2)))
    await asyncio.wait_for(provider.left.wait(), 5)


async def test_the_deadline_after_it_is_the_streams_last_event(provider: Any, caller: Any, ask: Ask) -> None:
    async def stalls(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(HELLO)
        await asyncio.sleep(60)
        return response

    provider.script = stalls
    _, body = await collect(caller.stream(ask(timeout=0.3)))
    assert error_in(body)["code"] == "deadline_exceeded"
    assert DONE not in body
