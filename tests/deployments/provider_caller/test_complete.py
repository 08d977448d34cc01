import asyncio
import socket
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from deployments.protocols import Usage
from deployments.provider_caller.call import spent_on
from deployments.provider_caller.refusals import KeyRefusedError
from kit.errors import (
    DeadlineError,
    PenstockError,
    RateLimitError,
    UnavailableError,
    UpstreamError,
    UpstreamRefusedError,
)

ANSWER = b'{"id":"c-1", "choices":[{"index":0}],  "usage":{"prompt_tokens":1000,"completion_tokens":10}}'
ASKED = Usage(2, 0, estimated=True)
"""Of the eight bytes of the question."""


async def test_bytes_go_through_unchanged_in_both_directions(
    provider: Any, client: Any, endpoint: Any, call: Any, script: Any
) -> None:
    provider.script = script.answers(ANSWER)
    completed = await client.complete(endpoint(), call())
    path, headers, body = provider.seen[0]
    assert (path, body) == ("/v1/chat/completions", call().body)
    assert headers["Authorization"] == "Bearer sk-secret"
    assert headers["X-Client-Request-Id"] == "req-1"
    assert (completed.body, completed.usage) == (ANSWER, Usage(1000, 10))


async def test_the_models_name_is_put_in_place_of_what_the_caller_asked_for(
    provider: Any, client: Any, endpoint: Any, call: Any, script: Any
) -> None:
    provider.script = script.answers(ANSWER)
    await client.complete(endpoint(), call(b'{"model":"auto","messages":[]}', model="gpt-4o"))
    assert orjson.loads(provider.seen[0][2]) == {"model": "gpt-4o", "messages": []}


async def test_an_answer_without_counts_is_estimated_from_its_text(
    provider: Any, client: Any, endpoint: Any, call: Any, script: Any
) -> None:
    message = {"content": "Grün", "tool_calls": [{"function": {"name": "f", "arguments": '{"a":1}'}}]}
    provider.script = script.answers(orjson.dumps({"choices": [{"message": message}]}))
    assert (await client.complete(endpoint(), call())).usage == Usage(2, 3, estimated=True)


async def test_one_connection_serves_many_calls(
    provider: Any, client: Any, endpoint: Any, call: Any, script: Any
) -> None:
    provider.script = script.answers(ANSWER)
    for _ in range(5):
        await client.complete(endpoint(), call())
    assert len(provider.connections) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, KeyRefusedError), (403, KeyRefusedError), (500, UpstreamError), (503, UnavailableError)],
)
async def test_what_the_caller_cannot_cure_is_the_providers_or_the_operators_fault(
    provider: Any, client: Any, endpoint: Any, call: Any, script: Any, status: int, kind: type[PenstockError]
) -> None:
    provider.script = script.answers(b'{"error":{"message":"Incorrect API key: sk-sec***"}}', status)
    with pytest.raises(kind) as caught:
        await client.complete(endpoint(), call())
    assert spent_on(caught.value) is None
    if isinstance(caught.value, KeyRefusedError):
        assert "refused this platform's key" in caught.value.message
        assert "sk-sec" not in caught.value.message
        assert (caught.value.should_retry, caught.value.provider_status) == (False, status)


async def test_a_tenants_own_key_is_called_that(
    provider: Any, client: Any, endpoint: Any, call: Any, script: Any
) -> None:
    provider.script = script.answers(b"{}", 401)
    client._guarded = client._session  # Loopback is not for tenants.
    with pytest.raises(KeyRefusedError, match="the tenant's key"):
        await client.complete(endpoint(tenant_owned=True), call())


async def test_the_callers_own_mistake_keeps_the_providers_status_and_words(
    provider: Any, client: Any, endpoint: Any, call: Any, script: Any
) -> None:
    provider.script = script.answers(b'{"error":{"message":"max_tokens is too large"}}', 400)
    with pytest.raises(UpstreamRefusedError, match="max_tokens is too large") as caught:
        await client.complete(endpoint(), call())
    assert caught.value.status == 400


async def test_a_rate_limit_says_when_to_come_back(
    provider: Any, client: Any, endpoint: Any, call: Any, script: Any
) -> None:
    provider.script = script.answers(b'{"error":{"message":"slow down"}}', 429, Retry_After="7")
    with pytest.raises(RateLimitError, match="slow down") as caught:
        await client.complete(endpoint(), call())
    assert (caught.value.retry_after, caught.value.should_retry) == (7, None)


async def test_a_spent_quota_is_not_worth_a_retry(
    provider: Any, client: Any, endpoint: Any, call: Any, script: Any
) -> None:
    provider.script = script.answers(b'{"error":{"message":"spent","code":"insufficient_quota"}}', 429)
    with pytest.raises(RateLimitError) as caught:
        await client.complete(endpoint(), call())
    assert caught.value.should_retry is False


async def test_redirects_are_not_followed(provider: Any, client: Any, endpoint: Any, call: Any, script: Any) -> None:
    provider.script = script.answers(b"", 307, Location="http://127.0.0.1:1/")
    with pytest.raises(UpstreamError, match="redirected"):
        await client.complete(endpoint(), call())
    assert len(provider.seen) == 1


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"ok":true}', b'{"choices":[{"message":{"con'])
async def test_a_body_that_is_no_answer_may_have_cost_what_was_asked(
    provider: Any, client: Any, endpoint: Any, call: Any, script: Any, body: bytes
) -> None:
    provider.script = script.answers(body)
    with pytest.raises(UpstreamError) as caught:
        await client.complete(endpoint(), call())
    assert spent_on(caught.value) == ASKED


@pytest.mark.parametrize("body", [b'{"error":{"message":"out of memory"}}', b'[{"error":{"message":"out of memory"}}]'])
async def test_an_error_with_status_200_is_an_error_and_costs_nothing(
    provider: Any, client: Any, endpoint: Any, call: Any, script: Any, body: bytes
) -> None:
    provider.script = script.answers(body)
    with pytest.raises(UpstreamError, match="out of memory") as caught:
        await client.complete(endpoint(), call())
    assert spent_on(caught.value) is None


async def test_an_answer_beyond_the_bound_is_given_up(
    provider: Any, client: Any, endpoint: Any, call: Any, script: Any
) -> None:
    provider.script = script.answers(b'{"choices":[' + b" " * 100_000 + b"]}")
    with pytest.raises(UpstreamError, match="100000 bytes"):
        await client.complete(endpoint(), call())


async def test_a_connection_that_dies_under_the_answer_is_an_upstream_error(
    provider: Any, client: Any, endpoint: Any, call: Any
) -> None:
    async def dies(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"choices"')
        assert request.transport is not None
        request.transport.abort()
        return response

    provider.script = dies
    with pytest.raises(UpstreamError) as caught:
        await client.complete(endpoint(), call())
    assert spent_on(caught.value) == ASKED
    assert len(provider.seen) == 1, "what may have been worked on is not sent again"


async def test_a_kept_connection_that_dies_before_an_answer_is_not_used_twice_for_one_call(
    provider: Any, client: Any, endpoint: Any, call: Any, script: Any
) -> None:
    provider.script = script.answers(ANSWER)
    await client.complete(endpoint(), call())

    async def hangs_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    provider.script = hangs_up
    with pytest.raises(UpstreamError, match="without an answer"):
        await client.complete(endpoint(), call())
    assert len(provider.seen) == 2


async def test_the_deadline_ends_a_call(provider: Any, client: Any, endpoint: Any, call: Any) -> None:
    async def sleeps(request: web.Request) -> web.Response:
        await provider.left.wait()
        return web.Response()

    provider.script = sleeps
    with pytest.raises(DeadlineError) as caught:
        await client.complete(endpoint(), call(timeout=0.1))
    assert spent_on(caught.value) == ASKED
    await asyncio.wait_for(provider.left.wait(), 5)


async def test_a_server_that_is_not_there_is_unavailable(client: Any, endpoint: Any, call: Any) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}/v1"
        with pytest.raises(UnavailableError, match="cannot be reached"):
            await client.complete(endpoint("compatible", base_url=url), call())


async def test_a_connection_that_could_not_be_made_is_tried_once_more(
    provider: Any, client: Any, endpoint: Any, call: Any, script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.script = script.answers(ANSWER)
    connector = client._session.connector
    connect, failures = connector.connect, [1]

    async def flaky(*args: Any, **kwargs: Any) -> Any:
        if failures:
            failures.pop()
            raise aiohttp.ClientConnectorError(args[0].connection_key, OSError(111, "refused"))
        return await connect(*args, **kwargs)

    monkeypatch.setattr(connector, "connect", flaky)
    assert (await client.complete(endpoint(), call())).body == ANSWER
    assert len(provider.seen) == 1


async def test_a_tenants_address_that_is_private_is_not_called(client: Any, endpoint: Any, call: Any) -> None:
    with pytest.raises(PenstockError, match=r"127\.0\.0\.1"):
        await client.complete(endpoint(tenant_owned=True), call())


async def test_a_key_that_cannot_be_sent_is_not_repeated(client: Any, endpoint: Any, call: Any) -> None:
    with pytest.raises(UpstreamError) as caught:
        await client.complete(endpoint(key="sk-\nsecret"), call())
    assert "secret" not in caught.value.message
    assert caught.value.__cause__ is None


async def test_a_check_costs_nothing_and_tells_a_good_key_from_a_bad_one(
    provider: Any, client: Any, endpoint: Any, script: Any
) -> None:
    provider.script = script.answers(b'{"data":[]}')
    assert 0 < await client.check(endpoint(), timeout=5) < 5
    assert provider.seen[0][0] == "/v1/models"
    provider.script = script.answers(b"{}", 401)
    with pytest.raises(KeyRefusedError):
        await client.check(endpoint(), timeout=5)
