"""What holds for every dialect alike."""

import asyncio
import time
from typing import Any

import orjson
import pytest

from deployments.protocols import Dialect, Route
from serve_app.chat.dialects.events import events_of

PATHS: dict[Dialect, str] = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic_messages": "/v1/messages",
}
each = pytest.mark.parametrize("dialect", PATHS)


async def ask(api: Any, dialect: Dialect, model: str, question: str = "Hello", **fields: Any) -> Any:
    turns = [{"role": "user", "content": question}]
    body: dict[str, Any] = {"model": model, **fields}
    body |= {"input": turns} if dialect == "openai_responses" else {"messages": turns}
    if dialect == "anthropic_messages":
        body["max_tokens"] = 9
    return await api.client.post(PATHS[dialect], json=body)


async def until_hit(api: Any, dialect: Dialect, **fields: Any) -> Any:
    """The store happens after the last byte: ask until it shows."""
    for _ in range(100):
        response = await ask(api, dialect, "echo", **fields)
        if response.headers["x-penstock-cache"] == "hit":
            return response
        await asyncio.sleep(0.02)
    raise AssertionError("never stored")


@each
@pytest.mark.parametrize("stream", [False, True])
async def test_the_headers_say_who_answered_and_why(api: Any, dialect: Dialect, stream: bool) -> None:
    response = await ask(api, dialect, "mock/org/echo", stream=stream, temperature=1)
    assert response.status_code == 200, response.text
    headers = response.headers
    assert (headers["x-penstock-provider"], headers["x-penstock-model"]) == ("mock", "org/echo")
    assert headers["x-penstock-cache"] == "off"
    assert headers["x-penstock-route-reason"]
    assert headers.get("x-penstock-cost-usd") == (None if stream else "0.000002500")
    assert api.provider.seen[0].dialect == dialect


@each
async def test_bytes_go_on_as_they_came_where_nothing_is_put_in(api: Any, dialect: Dialect) -> None:
    turns = b'"input": "hi"' if dialect == "openai_responses" else b'"messages":[{"role":"user","content":"hi"}]'
    body = b'{ "model":"echo", "temperature":1,\n "max_tokens":9, ' + turns + b', "x": 1.0 }'
    assert (await api.client.post(PATHS[dialect], content=body)).status_code == 200
    assert api.provider.seen[0].body == body


@each
async def test_an_answer_is_kept_and_given_again_whole_and_as_a_stream(api: Any, dialect: Dialect) -> None:
    asked: Any = {"question": f"What is {api.collection}?", "temperature": 0}
    first = await ask(api, dialect, "echo", **asked)
    again = await until_hit(api, dialect, **asked)
    assert again.content == first.content
    streamed = await ask(api, dialect, "echo", stream=True, **asked)
    assert streamed.headers["x-penstock-cache"] == "hit"
    assert float(streamed.headers["x-penstock-cost-usd"]) == 0
    assert f"You asked: What is {api.collection}?" in streamed.text


@each
async def test_a_stream_is_kept_and_given_again_whole(api: Any, dialect: Dialect) -> None:
    asked: Any = {"question": f"What is {api.collection}?", "temperature": 0}
    await ask(api, dialect, "echo", stream=True, **asked)
    whole = await until_hit(api, dialect, **asked)
    assert b"one two three" in whole.content
    assert b"cost_usd" not in whole.content


async def test_dialects_do_not_share_answers(api: Any) -> None:
    question = f"What is {api.collection}?"
    await until_hit(api, "openai_chat", question=question, temperature=0)
    for dialect in ("openai_responses", "anthropic_messages"):
        response = await ask(api, dialect, "echo", question, temperature=0)  # type: ignore[arg-type]
        assert response.headers["x-penstock-cache"] == "miss"


@each
async def test_a_replayed_stream_tells_that_it_cost_nothing(api: Any, dialect: Dialect) -> None:
    asked: Any = {"question": f"What is {api.collection}?", "temperature": 0, "stream": True}
    if dialect == "openai_chat":
        asked["stream_options"] = {"include_usage": True}
    replayed = await until_hit(api, dialect, **asked)
    noted = [event["penstock"] for event in events_of(replayed.content) if "penstock" in event]
    assert noted == [{"cost_usd": 0.0}]


@each
async def test_an_operation_types_instruction_goes_before_the_question_for_auto_only(
    api: Any, dialect: Dialect, monkeypatch: Any
) -> None:
    async def route(request: Any) -> Route:
        return Route("mock", "echo", "practice", "It asks for exercises.", instruction="Write exercises.")

    monkeypatch.setattr(api.router, "route", route)
    for model in ("auto", "echo"):
        assert (await ask(api, dialect, model, temperature=1)).status_code == 200
    automatic, named = (orjson.loads(request.body) for request in api.provider.seen)
    assert b"Write exercises." in orjson.dumps(automatic)
    assert b"Write exercises." not in orjson.dumps(named)


@each
@pytest.mark.parametrize("needed", [False, True])
async def test_a_question_is_embedded_only_where_the_router_can_use_it(
    api: Any, dialect: Dialect, monkeypatch: Any, needed: bool
) -> None:
    seen = []

    async def route(request: Any) -> Route:
        seen.append(request.vector)
        return Route("mock", "echo", "chat", "Because.")

    monkeypatch.setattr(api.router, "route", route)
    monkeypatch.setattr(api.router, "needs_vector", lambda request: needed)
    api.embedder.texts.clear()
    await ask(api, dialect, "auto", "What is rain?", temperature=1)
    assert api.embedder.texts == (["What is rain?"] if needed else [])
    assert (seen[0] is not None) == needed


@each
async def test_a_grounded_request_without_a_question_names_the_field(api: Any, dialect: Dialect) -> None:
    body: dict[str, Any] = {"model": "auto@somewhere", "max_tokens": 9}
    turns = [{"role": "assistant", "content": "Well."}]
    body |= {"input": turns} if dialect == "openai_responses" else {"messages": turns}
    response = await api.client.post(PATHS[dialect], json=body)
    assert response.status_code == 400
    assert ("input:" if dialect == "openai_responses" else "messages:") in response.json()["error"]["message"]


@each
async def test_a_client_that_leaves_ends_the_providers_stream_within_100_ms(api: Any, dialect: Dialect) -> None:
    """Of three, one: a machine that is busy with other things is no failure."""
    turns = [{"role": "user", "content": "x"}]
    body = {"model": "slow", "stream": True, "max_tokens": 9, "input": turns, "messages": turns}
    times = []
    for number in (1, 2, 3):
        async with api.client.stream("POST", PATHS[dialect], json=body) as response:
            await anext(response.aiter_bytes())
        left = time.monotonic()
        async with asyncio.timeout(5):
            while len(api.provider.closed) < number:
                await asyncio.sleep(0.005)
        times.append(time.monotonic() - left)
    assert min(times) < 0.1
