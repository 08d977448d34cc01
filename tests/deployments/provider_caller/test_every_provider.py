"""What every provider's client promises, in every dialect of a caller, whole and streamed."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson
import pytest
from aiohttp import web

from deployments.protocols import Dialect, Passage, Usage
from deployments.provider_caller.call import Endpoint, spent_on
from deployments.provider_caller.local import ExtractiveAnswer, Quote
from deployments.provider_caller.local_client import LocalClient
from deployments.provider_caller.providers.registry import load_registry
from deployments.provider_caller.refusals import ContextWindowError, KeyRefusedError
from kit.errors import PenstockError, RateLimitError, UnavailableError, UpstreamError, UpstreamRefusedError
from tests.deployments.provider_caller import provider_answers as answer

PROVIDERS = load_registry()
DIALECTS: tuple[Dialect, ...] = ("openai_chat", "openai_responses", "anthropic_messages")
LOCAL = "local"
PASSAGE = Passage(UUID(int=1), UUID(int=2), "T", "t.md", "H", "Hello there", 0.9)
OVER_HTTP = [(provider, dialect) for provider in sorted(PROVIDERS) for dialect in DIALECTS]
EVERY = [*OVER_HTTP, *((LOCAL, dialect) for dialect in DIALECTS)]
over_http = pytest.mark.parametrize(("name", "dialect"), OVER_HTTP)
every = pytest.mark.parametrize(("name", "dialect"), EVERY)


class Quotes:
    async def answer(self, question: str, passages: Sequence[Passage]) -> ExtractiveAnswer:
        return ExtractiveAnswer(True, (Quote(1, answer.TEXT, 1.0),), answer.TEXT)


class Attempt:
    """Attempts at a provider: over HTTP to the loopback server, which a test scripts, or at `local`."""

    def __init__(self, name: str, dialect: Dialect, provider: Any, client: Any, endpoint: Any, call: Any) -> None:
        self.native = "openai_chat" if name == LOCAL else PROVIDERS[name].dialect(dialect, {}, "m")
        self._provider = provider
        self._client: Any = LocalClient(Quotes()) if name == LOCAL else client
        self._endpoint = Endpoint(LOCAL, LOCAL, "", None) if name == LOCAL else endpoint(name)
        self._call = call
        self._fields = {"provider": name, "model": "m", "dialect": dialect, "passages": (PASSAGE,), "question": "Hi"}
        self._request = answer.REQUESTS[dialect]

    async def complete(self, script: Any) -> Any:
        self._provider.script = script
        return await self._client.complete(self._endpoint, self._call(orjson.dumps(self._request), **self._fields))

    async def open(self, script: Any, **limits: float) -> Any:
        self._provider.script = script
        body = orjson.dumps({**self._request, "stream": True})
        return await self._client.open(self._endpoint, self._call(body, **self._fields, **limits))


@pytest.fixture
def attempt(name: str, dialect: Dialect, provider: Any, client: Any, endpoint: Any, call: Any) -> Attempt:
    return Attempt(name, dialect, provider, client, endpoint, call)


async def collect(stream: Any) -> bytes:
    return b"".join([item async for item in stream.events()])


@every
async def test_a_whole_answer_comes_in_the_callers_dialect(
    name: str, dialect: Dialect, attempt: Attempt, script: Any
) -> None:
    completed = await attempt.complete(script.answers(answer.whole(attempt.native)))
    assert answer.text_of(dialect, completed.body) == answer.TEXT
    if name != LOCAL:
        assert completed.usage == Usage(answer.INPUT, answer.OUTPUT, answer.CACHED)


@every
async def test_a_stream_comes_in_the_callers_dialect_and_ends_as_it_should(
    name: str, dialect: Dialect, attempt: Attempt, script: Any
) -> None:
    stream = await attempt.open(script.streams(*answer.streamed(attempt.native)))
    received = await collect(stream)
    assert answer.text_of_events(dialect, received) == answer.TEXT
    assert answer.ends_well(dialect, received)
    assert stream.complete
    if name != LOCAL:
        assert stream.usage == Usage(answer.INPUT, answer.OUTPUT, answer.CACHED)


@over_http
async def test_the_request_reaches_the_provider_as_it_wants_it(
    name: str, dialect: Dialect, attempt: Attempt, provider: Any, script: Any
) -> None:
    await collect(await attempt.open(script.streams(*answer.streamed(attempt.native))))
    path, headers, body = provider.seen[0]
    one, content = PROVIDERS[name], orjson.loads(body)
    assert path == "/v1" + one.path(attempt.native)
    assert one.headers("sk-secret", attempt.native).items() <= headers.items()
    assert (content["model"], content["stream"]) == (one.wire_model("m"), True)
    assert ("stream_options" in content) == (attempt.native == "openai_chat")
    assert "Hi there" in body.decode()


@over_http
async def test_a_stream_that_breaks_ends_with_an_error_and_is_charged_for_what_came(
    name: str, dialect: Dialect, attempt: Attempt, script: Any
) -> None:
    begin, first, second, _ = answer.streamed(attempt.native)
    stream = await attempt.open(script.streams(begin, first, second[:-9], cut=True))
    received = await collect(stream)
    assert "broke off" in answer.error_of(dialect, received)
    assert not answer.ends_well(dialect, received)
    assert not stream.complete
    stated = attempt.native == "anthropic_messages"  # It states the prompt at the beginning.
    prompt = (answer.INPUT, answer.CACHED) if stated else (2, 0)
    assert stream.usage == Usage(prompt[0], 2, prompt[1], estimated=True)


@over_http
async def test_a_stream_that_stops_short_ends_with_an_error(
    name: str, dialect: Dialect, attempt: Attempt, script: Any
) -> None:
    begin, first, *_ = answer.streamed(attempt.native)
    received = await collect(await attempt.open(script.streams(begin, first)))
    assert "before it was complete" in answer.error_of(dialect, received)
    assert not answer.ends_well(dialect, received)


@over_http
async def test_an_error_in_the_middle_is_told_in_the_callers_dialect(
    name: str, dialect: Dialect, attempt: Attempt, script: Any
) -> None:
    begin, first, *_ = answer.streamed(attempt.native)
    errors: dict[Dialect, bytes] = {
        "openai_chat": b'data: {"error":{"message":"GPU lost"}}\n\n',
        "openai_responses": b'event: error\ndata: {"type":"error","code":"server_error","message":"GPU lost",'
        b'"param":null,"sequence_number":9}\n\n',
        "anthropic_messages": b'event: error\ndata: {"type":"error","error":{"type":"api_error",'
        b'"message":"GPU lost"}}\n\n',
    }
    stream = await attempt.open(script.streams(begin, first, errors[attempt.native] + first))
    received = await collect(stream)
    assert "GPU lost" in answer.error_of(dialect, received)
    assert not stream.complete


@over_http
async def test_a_caller_who_leaves_ends_the_call_within_100_ms(
    name: str, dialect: Dialect, attempt: Attempt, provider: Any, script: Any
) -> None:
    begin, first, *_ = answer.streamed(attempt.native)
    stream = await attempt.open(script.streams(begin, first, hang=60))
    events = stream.events()
    await anext(events)
    left = time.perf_counter()
    await events.aclose()
    await asyncio.wait_for(provider.left.wait(), 5)
    assert time.perf_counter() - left < 0.1
    assert (stream.complete, stream.usage.estimated, stream.usage.output_tokens) == (False, True, 2)


@over_http
async def test_silence_ends_with_an_error(name: str, dialect: Dialect, attempt: Attempt, script: Any) -> None:
    begin, first, *_ = answer.streamed(attempt.native)
    received = await collect(await attempt.open(script.streams(begin, first, hang=60), idle_timeout=0.05))
    assert "sent nothing more" in answer.error_of(dialect, received)


def refusal(name: str, status: int, kind: str, message: str) -> Any:
    error = {"type": kind, "code": kind, "message": message}
    body: Any = {"type": "error", "error": error} if name == "anthropic" else {"error": error}
    content = orjson.dumps([body] if name == "google" else body)

    async def script(request: web.Request) -> web.Response:
        return web.Response(body=content, status=status, headers={"Retry-After": "3"})

    return script


@over_http
@pytest.mark.parametrize(
    ("status", "kind", "message", "expected"),
    [
        (401, "authentication_error", "Bad key sk-secret", KeyRefusedError),
        (400, "invalid_request_error", "tools.0: bad schema", UpstreamRefusedError),
        (400, "context_length_exceeded", "too long", ContextWindowError),
        (429, "rate_limit_error", "slow down", RateLimitError),
        (500, "server_error", "oops", UpstreamError),
        (529, "overloaded_error", "busy", UnavailableError),
        (302, "moved", "elsewhere", UpstreamError),
    ],
)
async def test_a_refusal_is_an_error_without_a_cost_or_a_key(
    name: str, dialect: Dialect, attempt: Attempt, status: int, kind: str, message: str, expected: type[PenstockError]
) -> None:
    for ask in (attempt.complete, attempt.open):
        with pytest.raises(expected) as caught:
            await ask(refusal(name, status, kind, message))
        assert type(caught.value) is expected
        assert spent_on(caught.value) is None
        assert "sk-secret" not in str(caught.value)
        if expected in (RateLimitError, UnavailableError):
            assert caught.value.retry_after == 3


@over_http
async def test_an_error_with_status_200_is_one_whole_and_streamed(
    name: str, dialect: Dialect, attempt: Attempt, script: Any
) -> None:
    for ask in (attempt.complete, attempt.open):
        with pytest.raises(UpstreamError, match="out of memory") as caught:
            await ask(script.answers(b'{"error":{"message":"out of memory"}}'))
        assert spent_on(caught.value) is None


@over_http
async def test_a_garbled_answer_is_an_error_and_may_have_cost_the_prompt(
    name: str, dialect: Dialect, attempt: Attempt, script: Any
) -> None:
    with pytest.raises(UpstreamError) as caught:
        await attempt.complete(script.answers(answer.whole(attempt.native)[:-5]))
    assert spent_on(caught.value) == Usage(2, 0, estimated=True)
    with pytest.raises(UpstreamError) as caught:
        await attempt.open(script.streams(b'data: {"choi\n\n'))
    assert spent_on(caught.value) == Usage(2, 0, estimated=True)
