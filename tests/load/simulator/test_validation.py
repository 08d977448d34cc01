"""Requests that the provider's own types do not allow are refused, named and counted."""

import httpx
import pytest

from load.simulator.validate import Judge
from tests.load.simulator.conftest import HELLO

CHAT = {"model": "gpt-4o", "messages": HELLO}
MESSAGE = {"model": "claude-sonnet-5-5", "max_tokens": 5, "messages": HELLO}
BAD_PART = [{"role": "user", "content": [{"type": "text", "txt": "hi"}]}]
UNKNOWN_PART = [{"role": "user", "content": "x", "cache_control": {"type": "ephemeral"}}]
BAD_IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/bmp", "data": "aGk="}}

INVALID = [
    ("openai", "/chat/completions", CHAT | {"temprature": 1}, "temprature"),
    ("openai", "/chat/completions", CHAT | {"temperature": "1"}, "temperature"),
    ("openai", "/chat/completions", CHAT | {"max_tokens": 1.5}, "max_tokens"),
    ("openai", "/chat/completions", CHAT | {"messages": UNKNOWN_PART}, "messages.0.cache_control"),
    ("openai", "/chat/completions", CHAT | {"messages": BAD_PART}, "messages.0.content.0.t"),
    ("openai", "/chat/completions", CHAT | {"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
    ("openai", "/chat/completions", CHAT | {"messages": [{"role": "usr", "content": "x"}]}, "messages.0.role"),
    ("openai", "/chat/completions", {"model": "gpt-4o"}, "messages"),
    ("openai", "/chat/completions", CHAT | {"tools": [{"type": "function"}]}, "tools.0.function"),
    ("openai", "/responses", {"model": "gpt-4o", "messages": HELLO, "input": "x"}, "messages"),
    ("openai", "/responses", {"model": "gpt-4o", "input": [{"role": "user", "content": 7}]}, "input.0.content"),
    ("openai", "/embeddings", {"model": "m", "input": 3}, "input"),
    ("anthropic", "/messages", {"model": "m", "messages": HELLO}, "max_tokens"),
    ("anthropic", "/messages", MESSAGE | {"stop": ["x"]}, "stop"),
    ("anthropic", "/messages", MESSAGE | {"messages": [{"role": "user", "content": [BAD_IMAGE]}]}, "media_type"),
    ("groq", "/chat/completions", CHAT | {"store": "yes"}, "store"),
    ("gemini", "/chat/completions", CHAT | {"web_search_options": {}}, "web_search_options"),
    ("perplexity", "/v1/agent", {"model": "m", "input": "x", "text": {}}, "text"),
    ("perplexity", "/v1/agent", {"input": "x"}, "model, models or preset"),
    ("perplexity", "/v1/agent", {"model": "anthropic/claude-haiku-5-5", "input": "x"}, "max_output_tokens"),
]


@pytest.mark.parametrize(("provider", "path", "body", "named"), INVALID)
async def test_an_invalid_request_is_refused_with_the_name_of_the_field(sim, provider, path, body, named):
    before = sim.counts()["invalid_requests"]
    headers = {"Authorization": "Bearer any", "anthropic-version": "2026-10-21"}
    async with httpx.AsyncClient(headers=headers) as client:
        answer = await client.post(sim.base_url(provider) + path, json=body)
    assert answer.status_code == 400
    error = answer.json()[0] if provider == "gemini" else answer.json()
    assert named in error["error"]["message"]
    after = sim.counts()
    assert after["invalid_requests"] == before + 1
    assert after["invalid_examples"][-1]["provider"] == provider
    assert named in after["invalid_examples"][-1]["message"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"model": "m"}'])
async def test_what_is_no_request_is_refused_too(sim, body):
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{sim.base_url()}/chat/completions", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_a_verdict_does_not_depend_on_the_texts_but_on_everything_else():
    judge = Judge()
    assert judge.request("openai_chat", CHAT) is None
    assert judge.request("openai_chat", CHAT | {"messages": [{"role": "user", "content": "other"}]}) is None
    assert judge.request("openai_chat", CHAT | {"messages": [{"role": "user", "content": None}]}) is not None
    assert judge.request("openai_chat", CHAT | {"stream": True}) is None
    assert judge.request("openai_chat", CHAT | {"stream": "true"}) is not None
    assert judge.request("openai_chat", CHAT | {"reasoning_effort": "low"}) is None
    assert judge.request("openai_chat", CHAT | {"reasoning_effort": "lots"}) is not None


def test_a_lenient_judge_ignores_unknown_fields_and_nothing_else():
    judge = Judge(lenient=True)
    assert judge.request("openai_chat", CHAT | {"unknown": 1}) is None
    assert judge.request("openai_chat", CHAT | {"temperature": "1"}) is not None


def test_replies_are_judged_too():
    judge = Judge()
    assert judge.reply("openai_chat", {"id": "x", "object": "chat.completion"}) is not None
    assert judge.reply("anthropic_messages", {"type": "message_stop"}, event=True) is None
    assert judge.reply("anthropic_messages", {"type": "message_halt"}, event=True) is not None


@pytest.mark.parametrize(
    ("provider", "path", "body", "status"),
    [
        ("openai", "/chat/completions", CHAT, 401),
        ("anthropic", "/messages", MESSAGE, 401),
        ("groq", "/chat/completions", CHAT, 401),
        ("gemini", "/chat/completions", CHAT, 400),
        ("perplexity", "/v1/agent", {"model": "m", "input": "x"}, 401),
        ("compatible", "/chat/completions", CHAT, 401),
    ],
)
async def test_a_bad_key_is_refused_and_echoed(sim, provider, path, body, status):
    headers = {"anthropic-version": "2026-10-21"}
    headers |= {"x-api-key": "bad-key-77"} if provider == "anthropic" else {"Authorization": "Bearer bad-key-77"}
    async with httpx.AsyncClient(headers=headers) as client:
        answer = await client.post(sim.base_url(provider) + path, json=body)
    assert answer.status_code == status
    assert "bad-key-77" in answer.text
    assert "bad-key-77" not in str(sim.requests())


async def test_a_prompt_beyond_the_models_window_is_refused(sim, openai_client):
    with pytest.raises(Exception, match="context length is 128000") as refused:
        await openai_client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "x" * 4 * 128_001}]
        )
    assert refused.value.code == "context_length_exceeded"
