import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from load.client import ClosedLoopRun, LoadGenerator
from load.load_run import SERIAL, LoadResult, LoadSpec, request_bytes
from load.loopback import NotLoopbackError, loopback_address
from load.simulator.process import ROOT, SimulatorProcess, simulator

CHAT = json.dumps({"model": "m", "messages": [{"role": "user", "content": f"number {SERIAL}"}]})
STREAM = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]})


@pytest.fixture(scope="module")
def upstream() -> Iterator[SimulatorProcess]:
    with simulator(tokens=28, validate=False) as running:
        yield running


@pytest.fixture(scope="module")
def generator() -> Iterator[LoadGenerator]:
    with LoadGenerator() as running:
        yield running


def chat(url: str, **options) -> LoadSpec:
    return LoadSpec(f"{url}/v1/chat/completions", "POST", (CHAT,), **options)


@asynccontextmanager
async def server(answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]):
    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def answering(response: bytes):
    """A server that gives every request the same bytes and closes the connection."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response)
        await writer.drain()
        writer.close()

    return server(answer)


async def run_one(url: str, **options) -> LoadResult:
    return await ClosedLoopRun(LoadSpec(url, max_requests=1, seconds=5, **options)).run()


def test_every_request_that_is_counted_reached_the_server(upstream, generator):
    before = upstream.counts()["chat"]
    result = generator.run(chat(upstream.url, connections=8, seconds=5, max_requests=500))
    assert result.requests == 500
    assert result.errors == {}
    assert result.statuses == {"200": 500}
    assert len(result.latencies) == 500
    assert upstream.counts()["chat"] - before == 500


def test_a_run_ends_with_its_time(upstream, generator):
    result = generator.run(chat(upstream.url, connections=4, seconds=0.2))
    assert result.requests > 0
    assert result.elapsed >= 0.2
    assert result.requests_per_second == pytest.approx(result.requests / result.elapsed)


def test_a_generator_runs_one_spec_after_another(upstream, generator):
    results = [generator.run(chat(upstream.url, max_requests=3)) for _ in range(3)]
    assert [result.requests for result in results] == [3, 3, 3]


def test_streams_are_counted_event_by_event(upstream, generator):
    spec = LoadSpec(
        f"{upstream.url}/v1/chat/completions", "POST", (STREAM,), stream=True, connections=4, max_requests=20
    )
    result = generator.run(spec)
    assert result.requests == 20
    assert result.events == 20 * 30  # the role, 28 tokens, the finish reason
    assert len(result.first_events) == 20
    assert result.first_event.p50 <= result.latency.p50


def test_the_answers_start_is_kept_as_a_sample(upstream, generator):
    assert '"chat.completion"' in generator.run(chat(upstream.url, max_requests=1)).sample


def test_refusals_are_errors_by_status_and_have_no_latency(upstream, generator):
    result = generator.run(LoadSpec(f"{upstream.url}/v1/nothing", max_requests=5))
    assert result.requests == 0
    assert result.errors == {"status 404": 5}
    assert "No such path" in result.error_sample


async def test_a_stream_without_its_end_is_an_error():
    body = b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\ndata: {...}\n\n"
    async with answering(body) as url:
        assert (await run_one(url, stream=True)).errors == {"stream without [DONE]": 1}


async def test_an_error_event_fails_a_stream_even_when_it_ends_in_order():
    events = b'data: {"error": {"message": "gone"}}\n\ndata: [DONE]\n\n'
    async with answering(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(events), events)) as url:
        assert (await run_one(url, stream=True)).errors == {"error event": 1}


async def test_a_server_that_hangs_up_in_the_middle_is_an_error():
    async with answering(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this") as url:
        assert (await run_one(url)).errors == {"disconnected": 1}


async def test_a_server_that_does_not_speak_http_is_an_error():
    async with answering(b"220 mail.example ESMTP\r\n") as url:
        assert (await run_one(url)).errors == {"not HTTP": 1}


async def test_a_request_that_takes_too_long_is_given_up():
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with server(silent) as url:
        assert (await run_one(url, timeout=0.1)).errors == {"timeout": 1}


async def test_a_server_that_is_not_there_is_an_error_and_not_an_endless_loop():
    async with answering(b"") as url:
        pass
    result = await ClosedLoopRun(LoadSpec(url, seconds=0.2)).run()
    assert result.requests == 0
    assert set(result.errors) == {"connect failed"}


async def test_a_connection_that_the_server_closes_is_opened_again():
    async with answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n") as url:
        result = await ClosedLoopRun(LoadSpec(url, max_requests=7, seconds=5)).run()
    assert (result.requests, result.errors) == (7, {})


async def test_cache_headers_are_counted_by_value():
    async with answering(
        b"HTTP/1.1 200 OK\r\nX-Penstock-Cache: hit\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    ) as url:
        result = await ClosedLoopRun(LoadSpec(url, max_requests=3, seconds=5)).run()
    assert result.cache == {"hit": 3}


@pytest.mark.parametrize(
    "url",
    ["http://example.com/", "http://8.8.8.8/", "https://127.0.0.1/", "http://10.0.0.1:8000", "127.0.0.1:8000",
     "http://key@127.0.0.1/", "http://127.0.0.1:99999/"],
)  # fmt: skip
def test_nothing_but_plain_http_to_this_machine_is_accepted(url):
    with pytest.raises(NotLoopbackError):
        LoadSpec(url)


def test_loopback_comes_under_several_names():
    assert loopback_address("http://127.0.0.1:9/a/").prefix == "/a"
    assert loopback_address("http://[::1]:9").authority == "[::1]:9"
    assert loopback_address("http://localhost:9").port == 9


@pytest.mark.parametrize(
    "bounds",
    [{"connections": 0}, {"connections": 100_000}, {"seconds": 0}, {"seconds": 1e9}, {"max_requests": 0},
     {"timeout": 0}, {"headers": {"a": "b\r\nc: d"}}],
)  # fmt: skip
def test_a_run_is_bounded(bounds):
    with pytest.raises(ValueError, match="must"):
        LoadSpec("http://127.0.0.1:9", **bounds)


def test_no_two_requests_have_the_same_body_where_it_asks_for_a_serial_number():
    spec = LoadSpec("http://127.0.0.1:9/a?b=c", "POST", ('{"é": "@SERIAL@"}', "[1]"), headers={"A": "b"})
    requests = request_bytes(spec)
    first, other, second = (next(requests) for _ in range(3))
    assert first != second
    assert first.startswith(b"POST /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:9\r\nA: b\r\n")
    assert other.endswith(b"\r\n\r\n[1]")
    for request in (first, second, other):
        head, _, body = request.partition(b"\r\n\r\n")
        assert int(head.rpartition(b"Content-Length: ")[2]) == len(body)


def test_the_command_line_prints_json_and_fails_when_requests_do(upstream):
    command = [sys.executable, "-m", "load.client", "--max-requests", "3", "--url"]
    good = subprocess.run([*command, f"{upstream.url}/v1/models"], cwd=ROOT, capture_output=True)
    assert good.returncode == 0
    assert json.loads(good.stdout)["requests"] == 3
    assert subprocess.run([*command, f"{upstream.url}/nothing"], cwd=ROOT, capture_output=True).returncode == 1
    assert subprocess.run([*command, "http://example.com"], cwd=ROOT, capture_output=True).returncode == 2
