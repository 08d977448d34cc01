import socket
from collections.abc import Callable
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from deployments.protocols import ProviderRequest, Usage
from deployments.provider_caller.config import ProviderCallerConfig
from deployments.provider_caller.stage import COST, ProviderCallerStage
from kit.errors import (
    DeadlineError,
    PenstockError,
    RateLimitError,
    UnavailableError,
    UpstreamError,
    UpstreamRefusedError,
)
from kit.telemetry import METRICS

Ask = Callable[..., ProviderRequest]
ANSWER = b'{"id":"c-1", "choices":[{"index":0}],  "usage":{"prompt_tokens":1000,"completion_tokens":10}}'


def answers(body: bytes, status: int = 200, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def script(request: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers=named, content_type="application/json")

    return script


async def test_bytes_go_through_unchanged_in_both_directions(provider: Any, caller: Any, ask: Ask) -> None:
    provider.script = answers(ANSWER)
    reply = await caller.complete(ask())
    path, headers, body = provider.seen[0]
    assert (path, body) == ("/v1/chat/completions", ask().body)
    assert headers["Authorization"] == "Bearer sk-secret"
    assert (reply.body, reply.provider, reply.model) == (ANSWER, "openai", "gpt-6-luna")


async def test_usage_is_read_and_priced_in_nano_dollars(provider: Any, caller: Any, ask: Ask) -> None:
    provider.script = answers(ANSWER)
    before = METRICS.read(COST, provider="openai")
    reply = await caller.complete(ask())
    assert reply.usage == Usage(1000, 10, 0, cost=1000 * 100 + 10 * 500)
    assert METRICS.read(COST, provider="openai") - before == reply.usage.cost


async def test_a_model_without_a_price_costs_an_unknown_amount_not_zero(provider: Any, caller: Any, ask: Ask) -> None:
    provider.script = answers(ANSWER)
    assert (await caller.complete(ask(model="of-tomorrow"))).usage == Usage(1000, 10, 0, cost=None)


async def test_one_connection_serves_many_calls(provider: Any, caller: Any, ask: Ask) -> None:
    provider.script = answers(ANSWER)
    for _ in range(5):
        await caller.complete(ask())
    assert len(provider.connections) == 1


@pytest.mark.parametrize(
    ("status", "kind"), [(401, UpstreamError), (403, UpstreamError), (500, UpstreamError), (503, UnavailableError)]
)
async def test_what_the_caller_cannot_cure_is_the_providers_or_the_operators_fault(
    provider: Any, caller: Any, ask: Ask, status: int, kind: type[PenstockError]
) -> None:
    provider.script = answers(b'{"error":{"message":"Incorrect API key: sk-sec***"}}', status)
    with pytest.raises(kind) as caught:
        await caller.complete(ask())
    if status in (401, 403):
        assert "refused this platform's key" in caught.value.message
        assert "sk-sec" not in caught.value.message
        assert caught.value.should_retry is False


async def test_the_callers_own_mistake_keeps_the_providers_status_and_words(
    provider: Any, caller: Any, ask: Ask
) -> None:
    provider.script = answers(b'{"error":{"message":"max_tokens is too large"}}', 400)
    with pytest.raises(UpstreamRefusedError, match="max_tokens is too large") as caught:
        await caller.complete(ask())
    assert caught.value.status == 400


async def test_a_rate_limit_says_when_to_come_back(provider: Any, caller: Any, ask: Ask) -> None:
    provider.script = answers(b'{"error":{"message":"slow down"}}', 429, Retry_After="7")
    with pytest.raises(RateLimitError, match="slow down") as caught:
        await caller.complete(ask())
    assert caught.value.retry_after == 7


async def test_a_spent_quota_is_not_worth_a_retry(provider: Any, caller: Any, ask: Ask) -> None:
    provider.script = answers(b'{"error":{"message":"spent","code":"insufficient_quota"}}', 429)
    with pytest.raises(RateLimitError) as caught:
        await caller.complete(ask())
    assert caught.value.should_retry is False


async def test_redirects_are_not_followed(provider: Any, caller: Any, ask: Ask) -> None:
    provider.script = answers(b"", 307, Location="http://127.0.0.1:1/")
    with pytest.raises(UpstreamError, match="redirected"):
        await caller.complete(ask())
    assert len(provider.seen) == 1


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"ok":true}', b'{"error":{"message":"out of memory"}}'])
async def test_a_status_of_200_does_not_make_an_answer(provider: Any, caller: Any, ask: Ask, body: bytes) -> None:
    provider.script = answers(body)
    with pytest.raises(UpstreamError):
        await caller.complete(ask())


async def test_a_connection_that_dies_under_the_answer_is_an_upstream_error(
    provider: Any, caller: Any, ask: Ask
) -> None:
    async def dies(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"choices"')
        assert request.transport is not None
        request.transport.abort()
        return response

    provider.script = dies
    with pytest.raises(UpstreamError):
        await caller.complete(ask())
    assert len(provider.seen) == 1, "what may have been worked on is not sent again"


async def test_the_deadline_ends_a_call(provider: Any, caller: Any, ask: Ask) -> None:
    async def sleeps(request: web.Request) -> web.Response:
        await provider.left.wait()
        return web.Response()

    provider.script = sleeps
    with pytest.raises(DeadlineError):
        await caller.complete(ask(timeout=0.1))
    await provider.left.wait()


async def test_a_server_that_is_not_there_is_unavailable(ask: Ask) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}/v1"
        config = ProviderCallerConfig(compatible_base_url=url, compatible_models=["m"])
        stage = ProviderCallerStage(config, None)  # type: ignore[arg-type]
        await stage.start()
        try:
            with pytest.raises(UnavailableError, match="cannot be reached"):
                await stage.complete(ask(provider="compatible", model="m"))
        finally:
            await stage.close()


async def test_a_connection_that_could_not_be_made_is_tried_once_more(
    provider: Any, caller: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.script = answers(ANSWER)
    session = caller._client._session
    connect, failures = session.connector.connect, [1]

    async def flaky(*args: Any, **kwargs: Any) -> Any:
        if failures:
            failures.pop()
            raise aiohttp.ClientConnectorError(args[0].connection_key, OSError(111, "refused"))
        return await connect(*args, **kwargs)

    monkeypatch.setattr(session.connector, "connect", flaky)
    assert (await caller.complete(ask())).body == ANSWER
    assert len(provider.seen) == 1


async def test_a_provider_without_a_key_is_unavailable_and_names_the_variable(caller: Any, ask: Ask) -> None:
    with pytest.raises(UnavailableError, match="GROQ_API_KEY"):
        await caller.complete(ask(provider="groq"))


async def test_error_answers_in_googles_list_form_are_read(provider: Any, caller: Any, ask: Ask) -> None:
    provider.script = answers(orjson.dumps([{"error": {"message": "bad schema"}}]), 400)
    with pytest.raises(UpstreamRefusedError, match="bad schema"):
        await caller.complete(ask())
