import asyncio
import contextlib
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from openai import APIError, AsyncOpenAI

from serve_app.chat.dialects.events import events_of


async def test_a_stream_carries_the_providers_events_and_ends_with_done(api: Any) -> None:
    response = await api.chat(stream=True, temperature=1)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-penstock-provider"] == "mock"
    assert response.headers["x-penstock-cache"] == "off"
    assert response.headers["x-request-id"]
    texts = [e["choices"][0]["delta"].get("content") for e in events_of(response.content)]
    assert texts == ["one ", "two ", "three", None]
    assert response.text.endswith("data: [DONE]\n\n")


async def test_a_failure_after_the_first_byte_is_an_error_event_without_done(api: Any) -> None:
    response = await api.chat("breaks", stream=True)
    assert response.status_code == 200
    assert "[DONE]" not in response.text
    last = [*events_of(response.content)][-1]
    assert last["error"]["message"] == "The provider broke off its answer."
    assert last["error"].keys() == {"message", "type", "param", "code"}


async def test_a_stream_that_just_stops_is_told_as_a_failure(api: Any) -> None:
    response = await api.chat("truncated", stream=True)
    assert "[DONE]" not in response.text
    assert [*events_of(response.content)][-1]["error"]["code"] == "upstream_error"


async def test_the_official_client_raises_for_a_broken_stream(api: Any) -> None:
    async with AsyncOpenAI(api_key=api.key, base_url=f"{api.url}/v1", max_retries=0) as client:
        messages: Any = [{"role": "user", "content": "Hello"}]
        stream = await client.chat.completions.create(model="breaks", messages=messages, stream=True)
        with pytest.raises(APIError, match="broke off"):
            async for _ in stream:
                pass


async def test_a_client_that_leaves_ends_the_providers_stream_at_once(api: Any) -> None:
    reader, writer = await _open_stream(api, "slow")
    await reader.readuntil(b"one ")
    writer.transport.abort()
    await _until(lambda: api.provider.closed == ["slow"])


async def test_a_client_that_closes_politely_ends_the_stream_too(api: Any) -> None:
    reader, writer = await _open_stream(api, "slow")
    await reader.readuntil(b"one ")
    writer.close()
    await _until(lambda: api.provider.closed == ["slow"])


async def test_a_stream_ends_at_its_deadline_with_an_error_event(run_api: Any) -> None:
    async with run_api(request_timeout=0.3) as api:
        response = await api.chat("slow", stream=True)
        assert [*events_of(response.content)][-1]["error"]["code"] == "deadline_exceeded"
        assert "[DONE]" not in response.text
        assert api.provider.closed == ["slow"]


async def _open_stream(api: Any, model: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    body = orjson.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": "x"}]})
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: {api.key}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    return reader, writer


async def _until(condition: Any) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.01)
    assert condition()
