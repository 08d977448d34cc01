"""The requests that Open WebUI's backend sends, by the client that it sends them with, read as it reads them.

After backend/open_webui/routers/openai.py and tasks.py of github.com/open-webui/open-webui.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

USER = {
    "X-OpenWebUI-User-Name": "Ada%20Lovelace",
    "X-OpenWebUI-User-Id": "5b0c6c9e-3f4f-4a40-8f0e-2f2f8a3f9f11",
    "X-OpenWebUI-User-Email": "ada@example.org",
    "X-OpenWebUI-User-Role": "user",
}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(trust_env=True, timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield session


def headers(api: Any) -> dict[str, str]:
    chat = {"X-OpenWebUI-Chat-Id": "2b0c6c9e-3f4f-4a40-8f0e-2f2f8a3f9f11"}
    return {"Content-Type": "application/json", **USER, **chat, "Authorization": f"Bearer {api.key}"}


async def post(session: aiohttp.ClientSession, api: Any, payload: Any, path: str = "chat/completions") -> Any:
    return await session.request("POST", f"{api.url}/v1/{path}", data=json.dumps(payload), headers=headers(api))


async def test_the_models_are_listed_to_choose_from(api: Any, session: aiohttp.ClientSession) -> None:
    await api.write("rain.md", "Rain.")
    listing = {"Authorization": f"Bearer {api.key}", **USER}
    for sent in (listing, headers(api)):  # the list, and the check of a connection
        async with session.get(f"{api.url}/v1/models", headers=sent) as response:
            assert response.status == 200
            models = (await response.json())["data"]
    ids = [model["id"] for model in models if "error" not in models]
    # Other models are listed once more for a collection only while there are few collections.
    assert {"auto", "echo", f"auto@{api.collection}"} <= set(ids)
    assert all(model.get("name", "") is not None for model in models)


async def test_a_chat_streams_its_text_and_then_its_usage(api: Any, session: aiohttp.ClientSession) -> None:
    await api.write("rain.md", "Rain forms in cold clouds.")
    payload = {
        "stream": True,
        "model": f"echo@{api.collection}",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": ""},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "How does rain form?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
                ],
            },
        ],
        "temperature": 0.8,
        "top_p": 0.9,
        "max_tokens": 128,
        "frequency_penalty": 0,
        "seed": 42,
        "stop": ["END"],
        "logit_bias": {"50256": -100},
        "reasoning_effort": "low",
        "stream_options": {"include_usage": True},
    }
    response = await post(session, api, payload)
    assert "text/event-stream" in response.headers["Content-Type"]
    text, usage, done = "", {}, False
    async for line in response.content:
        data = line.decode().strip().removeprefix("data:").strip()
        if data == "[DONE]":
            done = True
        elif data.startswith("{"):
            event = json.loads(data)
            assert "error" not in event
            usage.update(event.get("usage") or {})
            for choice in event["choices"][:1]:
                text += choice["delta"].get("content") or ""
    assert (text, usage["total_tokens"], done) == ("one two three", 15, True)
    assert [passage.source for passage in api.provider.seen[0].passages] == ["rain.md"]
    assert api.provider.seen[0].question == "How does rain form?"


async def test_titles_and_tags_are_asked_for_whole(api: Any, session: aiohttp.ClientSession) -> None:
    payload = {
        "model": "echo",
        "messages": [{"role": "user", "content": "### Task:\nGenerate a concise, 3-5 word title."}],
        "stream": False,
        "max_completion_tokens": 1000,
    }
    response = await post(session, api, payload)
    assert "text/event-stream" not in response.headers["Content-Type"]
    answer = await response.json()
    assert answer["choices"][0]["message"]["content"].startswith("You asked: ### Task:")
    assert answer["usage"]["total_tokens"] == 15


async def test_tools_are_called_over_a_stream(api: Any, session: aiohttp.ClientSession) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    payload = {"model": "tool", "stream": True, "tools": [tool], "messages": [{"role": "user", "content": "Warm?"}]}
    response = await post(session, api, payload)
    arguments = ""
    async for line in response.content:
        data = line.decode().strip().removeprefix("data:").strip()
        if data.startswith("{"):
            for call in json.loads(data)["choices"][0]["delta"].get("tool_calls", []):
                arguments += call["function"]["arguments"]
    assert json.loads(arguments) == {"city": "Ulm"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("model", "status"), [("gone", 404), ("refuses", 400), ("down", 503)])
async def test_an_error_is_json_with_a_message_to_show(
    api: Any, session: aiohttp.ClientSession, model: str, status: int, stream: bool
) -> None:
    payload = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Hello"}]}
    response = await post(session, api, payload)
    assert response.status == status
    assert "application/json" in response.headers["Content-Type"]
    assert (await response.json())["error"]["message"]


async def test_knowledge_is_embedded(api: Any, session: aiohttp.ClientSession) -> None:
    response = await post(session, api, {"model": "all-MiniLM-L6-v2", "input": ["rain", "snow"]}, "embeddings")
    vectors = [item["embedding"] for item in (await response.json())["data"]]
    assert [len(vector) for vector in vectors] == [384, 384]
