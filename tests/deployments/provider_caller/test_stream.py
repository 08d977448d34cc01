import asyncio
import time
from typing import Any

import orjson
import pytest
from aiohttp import web

from deployments.protocols import Usage
from deployments.provider_caller.call import spent_on
from kit.errors import DeadlineError, UnavailableError, UpstreamError, UpstreamRefusedError
from tests.deployments.provider_caller.conftest import STREAMED, WITH_USAGE

ROLE = b'data: {"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
HELLO = b'data: {"choices":[{"delta":{"content":"Hel"}}]}\n\n'
WORLD = b'data: {"choices":[{"delta":{"content":"lo [DONE]"}}]}\n\n'
FINISH = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"
WAIT = b": wait\n\n"
ASKED = Usage(2, 0, estimated=True)


@pytest.fixture
def opened(provider: Any, client: Any, endpoint: Any, call: Any, script: Any) -> Any:
    """Opens a stream of the given pieces, or of a script."""

    async def build(*pieces: Any, body: bytes = WITH_USAGE, cut: bool = False, **limits: float) -> Any:
        provider.script = pieces[0] if callable(pieces[0]) else script.streams(*pieces, cut=cut)
        return await client.open(endpoint(), call(body, **limits))

    return build


async def collect(stream: Any) -> bytes:
    return b"".join([item async for item in stream.events()])


def error_in(stream: bytes) -> dict[str, Any]:
    last = stream.rstrip(b"\n").split(b"\n\n")[-1]
    error: dict[str, Any] = orjson.loads(last.removeprefix(b"data: "))["error"]
    return error


async def test_a_stream_passes_through_byte_for_byte(opened: Any) -> None:
    stream = await opened(WAIT, HELLO[:10], HELLO[10:] + WORLD, b"\r\n" + FINISH + USAGE, DONE)
    assert await collect(stream) == WAIT + HELLO + WORLD + b"\r\n" + FINISH + USAGE + DONE
    assert (stream.complete, stream.usage) == (True, Usage(4, 2))


async def test_usage_is_always_asked_for_and_goes_only_to_who_asked_too(provider: Any, opened: Any) -> None:
    stream = await opened(HELLO, FINISH + USAGE + DONE, body=STREAMED)
    assert orjson.loads(provider.seen[0][2])["stream_options"] == {"include_usage": True}
    assert await collect(stream) == HELLO + FINISH + DONE
    assert stream.usage == Usage(4, 2)


async def test_ready_events_travel_together_and_the_first_does_not_wait(opened: Any) -> None:
    more = asyncio.Event()

    async def script(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(HELLO)
        await more.wait()
        await response.write(WORLD * 20 + FINISH + DONE)
        return response

    events = (await opened(script)).events()
    assert await anext(events) == HELLO
    more.set()
    rest = [item async for item in events]
    assert b"".join(rest) == WORLD * 20 + FINISH + DONE
    assert len(rest) < 5


async def test_a_finished_streams_connection_is_used_again(provider: Any, opened: Any) -> None:
    for _ in range(3):
        await collect(await opened(HELLO, FINISH, DONE))
    assert len(provider.connections) == 1


@pytest.mark.parametrize(
    "pieces",
    [[WAIT], [HELLO[:20]], [DONE], [b"data: <html>\n\n"], [b"data: [1]\n\n"], [ROLE], [ROLE, HELLO[:30]]],
)
async def test_a_stream_that_dies_before_its_first_token_is_raised_with_what_was_asked(
    opened: Any, pieces: list[bytes]
) -> None:
    with pytest.raises(UpstreamError) as caught:
        await opened(*pieces)
    assert spent_on(caught.value) == ASKED


async def test_a_connection_that_breaks_before_the_first_token_is_raised(opened: Any) -> None:
    with pytest.raises(UpstreamError, match="broke off") as caught:
        await opened(ROLE, cut=True)
    assert spent_on(caught.value) == ASKED


@pytest.mark.parametrize(
    "piece", [b'data: {"error":{"message":"no capacity"}}\n\n', b'{"error":{"message":"no capacity"}}']
)
async def test_an_error_before_the_first_token_is_raised_with_its_words_and_costs_nothing(
    opened: Any, piece: bytes
) -> None:
    with pytest.raises(UpstreamError, match="no capacity") as caught:
        await opened(ROLE, piece)
    assert spent_on(caught.value) is None


async def test_an_error_is_told_by_its_type_where_it_comes_with_status_200(opened: Any) -> None:
    with pytest.raises(UnavailableError, match="busy"):
        await opened(b'data: {"error":{"message":"busy","type":"overloaded_error"}}\n\n')


async def test_a_refusal_of_a_streamed_request_is_raised(opened: Any, script: Any) -> None:
    with pytest.raises(UpstreamRefusedError, match="no such model"):
        await opened(script.answers(b'{"error":{"message":"no such model"}}', 404))


@pytest.mark.parametrize("tail", [b"", WORLD[:-2], WORLD[:-2] + b"\n", FINISH + b"data: {"])
async def test_a_stream_that_ends_early_tells_so_and_is_never_done(opened: Any, tail: bytes) -> None:
    stream = await opened(HELLO, tail) if tail else await opened(HELLO)
    body = await collect(stream)
    assert body.startswith(HELLO)
    assert error_in(body)["code"] == "upstream_error"
    assert b"lo" not in body
    assert DONE not in body
    assert not stream.complete


async def test_a_cut_stream_used_what_was_asked_and_what_was_delivered(opened: Any) -> None:
    stream = await opened(HELLO, WORLD, cut=True)
    body = await collect(stream)
    assert body.startswith(HELLO)
    assert "broke off" in error_in(body)["message"]
    assert DONE not in body
    assert stream.usage == Usage(2, 3, estimated=True)  # "Hello [DONE]" are twelve bytes.


async def test_counts_that_were_stated_before_the_cut_stand(opened: Any) -> None:
    stream = await opened(HELLO, FINISH, USAGE, cut=True)
    assert error_in(await collect(stream))
    assert stream.usage == Usage(4, 2)


async def test_the_last_of_several_counts_stands(opened: Any) -> None:
    stream = await opened(HELLO, FINISH + USAGE + USAGE.replace(b"2", b"7") + DONE)
    await collect(stream)
    assert stream.usage == Usage(4, 7)


async def test_a_finished_answer_whose_done_is_missing_gets_it(opened: Any) -> None:
    stream = await opened(HELLO, FINISH, USAGE)
    assert await collect(stream) == HELLO + FINISH + USAGE + DONE
    assert stream.complete


async def test_with_two_choices_both_must_have_finished(opened: Any) -> None:
    stream = await opened(HELLO, FINISH, body=WITH_USAGE[:-1] + b',"n":2}')
    assert error_in(await collect(stream))
    stream = await opened(HELLO, FINISH, FINISH, body=WITH_USAGE[:-1] + b',"n":2}')
    assert (await collect(stream)).endswith(DONE)


async def test_a_done_without_its_empty_line_is_one(opened: Any) -> None:
    stream = await opened(HELLO, b"data: [DONE]")
    assert await collect(stream) == HELLO + DONE
    assert stream.complete


async def test_a_garbled_event_is_not_passed_on_and_ends_the_stream(opened: Any) -> None:
    stream = await opened(HELLO, b'data: {"choices":[{"delta":{"con\n\n', WORLD + DONE)
    body = await collect(stream)
    assert body.startswith(HELLO + b'data: {"error"')
    assert WORLD not in body
    assert not stream.complete


async def test_nothing_follows_an_error_that_the_provider_reports(opened: Any) -> None:
    failed = b'data: {"error":{"message":"GPU lost"}}\n\n'
    stream = await opened(HELLO, failed + DONE)
    assert await collect(stream) == HELLO + failed
    assert not stream.complete


async def test_nothing_follows_the_end(opened: Any) -> None:
    assert await collect(await opened(HELLO + DONE + WORLD)) == HELLO + DONE


async def test_a_client_that_leaves_ends_the_upstream_call_at_once(provider: Any, opened: Any) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(HELLO)
            await asyncio.sleep(0.01)

    stream = await opened(endless, timeout=60)
    events = stream.events()
    await anext(events)
    left = time.perf_counter()
    await events.aclose()
    await asyncio.wait_for(provider.left.wait(), 5)
    assert time.perf_counter() - left < 0.1
    assert not stream.complete
    assert stream.usage.estimated
    assert stream.usage.output_tokens >= 1


async def test_a_stream_that_nobody_reads_is_closed_at_once_too(provider: Any, opened: Any, script: Any) -> None:
    stream = await opened(script.streams(HELLO, hang=60))
    await stream.close()
    await asyncio.wait_for(provider.left.wait(), 0.1)
    await stream.close()


async def test_a_client_that_leaves_while_waiting_ends_the_upstream_call(
    provider: Any, opened: Any, script: Any
) -> None:
    stream = await opened(script.streams(HELLO, hang=60))
    task = asyncio.ensure_future(collect(stream))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(provider.left.wait(), 0.1)


async def test_whoever_gives_up_before_the_first_token_learns_what_it_may_cost(
    provider: Any, opened: Any, script: Any
) -> None:
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.1):
            await opened(script.streams(ROLE, hang=60))
    assert caught.value.__cause__ is not None
    assert spent_on(caught.value.__cause__) == ASKED
    await asyncio.wait_for(provider.left.wait(), 0.1)


async def test_the_deadline_before_the_first_token_is_raised(provider: Any, opened: Any, script: Any) -> None:
    with pytest.raises(DeadlineError) as caught:
        await opened(script.streams(WAIT, hang=60), timeout=0.1)
    assert spent_on(caught.value) == ASKED
    await asyncio.wait_for(provider.left.wait(), 0.1)


async def test_the_deadline_after_it_is_the_streams_last_event(opened: Any, script: Any) -> None:
    stream = await opened(script.streams(HELLO, hang=60), timeout=0.15)
    body = await collect(stream)
    assert error_in(body)["code"] == "deadline_exceeded"
    assert DONE not in body
    assert stream.usage == Usage(2, 1, estimated=True)


async def test_bytes_that_make_no_whole_event_are_silence(provider: Any, opened: Any) -> None:
    async def drips(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(HELLO)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.01)

    started = time.perf_counter()
    body = await collect(await opened(drips, idle_timeout=0.15))
    assert "nothing more for 0.15 s" in error_in(body)["message"]
    assert time.perf_counter() - started < 1
    await asyncio.wait_for(provider.left.wait(), 0.1)


async def test_a_caller_who_reads_slowly_is_not_the_providers_silence(opened: Any) -> None:
    read = asyncio.Event()

    async def script(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in (HELLO, WORLD):
            await response.write(piece)
            await asyncio.sleep(0.01)
        await read.wait()
        await response.write(FINISH + DONE)
        return response

    events = (await opened(script, idle_timeout=0.05)).events()
    assert await anext(events) + await anext(events) == HELLO + WORLD
    await asyncio.sleep(0.15)
    read.set()
    assert await anext(events) == FINISH + DONE
    await events.aclose()
