"""Each fault as it looks on the wire, whole and streamed."""

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from load.simulator.faults import NAMES, Fault, UnknownFaultError
from tests.load.simulator.conftest import HELLO, bill, named

CHAT = ("openai", "/chat/completions", {"model": "gpt-4o", "messages": HELLO})
RESPONSES = ("openai", "/responses", {"model": "gpt-4o", "input": "hi"})
MESSAGES = ("anthropic", "/messages", {"model": "claude-sonnet-5-5", "max_tokens": 100, "messages": HELLO})
GROQ = ("groq", "/chat/completions", {"model": "llama-3.3-70b-versatile", "messages": HELLO})
GEMINI = ("gemini", "/chat/completions", {"model": "gemini-3.8-flash", "messages": HELLO})
AGENT = ("perplexity", "/v1/agent", {"model": "perplexity/sonar", "input": "hi"})
ALL = pytest.mark.parametrize("call", [CHAT, RESPONSES, MESSAGES, GROQ, GEMINI, AGENT], ids=lambda c: c[0] + c[1])
STREAMS = {"chat": CHAT, "responses": RESPONSES, "messages": MESSAGES, "agent": AGENT}
ENDS = {"chat": "[DONE]", "responses": "response.completed", "messages": "message_stop", "agent": "response.completed"}
HEADERS = {"Authorization": "Bearer any", "anthropic-version": "2026-10-21"}
STATUS = {
    "429": 429, "429_retry_after": 429, "429_quota": 429, "500": 500, "503": 503, "529": 529,
    "context_length": 400, "bad_tool_schema": 400, "unknown_model": 404, "html": 502,
}  # fmt: skip


class Seen:
    """What a client saw: `broken` where the connection ended before the answer did, `late` where it went silent."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.broken = self.late = False

    @property
    def data(self) -> list[str]:
        lines = self.body.decode().split("\n")
        return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]


async def ask(sim, call, fault: str, *, stream: bool, patience: float = 5.0, request_id: str = "") -> Seen:
    provider, path, body = call
    seen = Seen()
    headers = HEADERS | {"x-simulator-fault": fault} | named(request_id)
    body = body | ({"stream": True} if stream else {})

    async def read() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(sim.base_url(provider) + path, json=body, headers=headers) as response,
        ):
            seen.status, seen.headers = response.status, dict(response.headers)
            async for data in response.content.iter_any():
                seen.body += data

    try:
        await asyncio.wait_for(read(), patience)
    except TimeoutError:
        seen.late = True
    except aiohttp.ClientError:
        seen.broken = True
    return seen


@ALL
@pytest.mark.parametrize("fault", STATUS)
async def test_a_refusal_has_its_status_and_the_providers_words(sim, call, fault, request_id):
    seen = await ask(sim, call, fault, stream=fault == "500", request_id=request_id)
    assert seen.status == STATUS[fault]
    if fault == "html":
        assert seen.body.startswith(b"<html>")
    else:
        body = json.loads(seen.body)
        body = body[0] if call[0] == "gemini" else body
        assert body["error"]["message"]
        assert (body.get("type") == "error") == (call[0] == "anthropic")
    row = bill(sim, request_id)
    assert (row["fault"], row["input"], row["output"]) == (fault, 0, 0)


async def test_retry_after_is_said_only_where_asked(sim):
    assert (await ask(sim, CHAT, "429_retry_after:7", stream=False)).headers["Retry-After"] == "7"
    assert "Retry-After" not in (await ask(sim, CHAT, "429", stream=False)).headers


async def test_a_spent_quota_is_told_apart_from_a_rate_limit(sim):
    assert json.loads((await ask(sim, CHAT, "429_quota", stream=False)).body)["error"]["type"] == "insufficient_quota"
    details = json.loads((await ask(sim, MESSAGES, "429_quota", stream=False)).body)["error"]["details"]
    assert details["error_code"] == "enforced_spend_limit_reached"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_connection_ends_without_a_word(sim, stream):
    seen = await ask(sim, CHAT, "refuse", stream=stream)
    assert seen.broken
    assert not seen.status


@pytest.mark.parametrize("stream", [False, True])
async def test_silence_before_the_head(sim, stream):
    seen = await ask(sim, CHAT, "stall_before", stream=stream, patience=0.1)
    assert seen.late
    assert not seen.status


@pytest.mark.parametrize("stream", [False, True])
async def test_silence_after_the_head(sim, stream):
    seen = await ask(sim, CHAT, "stall_first", stream=stream, patience=0.1)
    assert seen.late
    assert (seen.status, seen.body) == (200, b"")


@pytest.mark.parametrize("name", STREAMS)
async def test_silence_after_some_tokens(sim, name, request_id):
    seen = await ask(sim, STREAMS[name], "stall_mid:2", stream=True, patience=0.15, request_id=request_id)
    assert seen.late
    assert ENDS[name] not in seen.body.decode()
    row = bill(sim, request_id)
    assert (row["state"], row["output"]) == ("cancelled", 2)


@pytest.mark.parametrize("name", STREAMS)
async def test_a_connection_that_dies_in_the_middle_of_an_event(sim, name):
    seen = await ask(sim, STREAMS[name], "cut_mid_event:2", stream=True)
    assert seen.broken
    assert not seen.body.endswith(b"\n\n")


@pytest.mark.parametrize("fault", ["cut_clean", "missing_done"])
@pytest.mark.parametrize("name", STREAMS)
async def test_a_stream_that_ends_in_order_but_is_not_whole(sim, name, fault):
    seen = await ask(sim, STREAMS[name], fault, stream=True)
    assert not seen.broken
    assert seen.body.endswith(b"\n\n")
    assert ENDS[name] not in seen.body.decode()


@pytest.mark.parametrize("name", STREAMS)
async def test_an_event_that_is_not_json_among_good_ones(sim, name):
    seen = await ask(sim, STREAMS[name], "garbled:2", stream=True)
    assert ENDS[name] in seen.data[-1]
    bad = [data for data in seen.data if data != "[DONE]" and not is_json(data)]
    assert len(bad) == 1


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("fault", ["error_200", "error_mid"])
async def test_an_error_inside_a_stream(sim, name, fault):
    seen = await ask(sim, STREAMS[name], fault, stream=True)
    assert seen.status == 200
    last = json.loads(seen.data[-1])
    assert "error" in last or last["type"] in ("error", "response.failed")
    assert (len(seen.data) == 1) == (fault == "error_200")


async def test_usage_that_is_stated_twice(sim, request_id):
    call = (CHAT[0], CHAT[1], CHAT[2] | {"stream_options": {"include_usage": True}})
    seen = await ask(sim, call, "duplicate_usage", stream=True, request_id=request_id)
    assert sum('"usage":{' in data for data in seen.data) == 2
    assert seen.data[-1] == "[DONE]"
    assert bill(sim, request_id)["state"] == "completed"


@pytest.mark.parametrize("stream", [False, True])
async def test_bytes_that_come_one_by_one(sim, stream):
    quick = await ask(sim, CHAT, "slow_bytes:0.00001", stream=stream)
    assert quick.data[-1:] == ["[DONE]"] if stream else json.loads(quick.body)["object"] == "chat.completion"
    slow = await ask(sim, CHAT, "slow_bytes:0.05", stream=stream, patience=0.2)
    assert slow.late
    assert 1 <= len(slow.body) <= 4


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_at_all_with_status_200(sim, stream):
    seen = await ask(sim, CHAT, "empty", stream=stream)
    assert (seen.status, seen.body, seen.broken) == (200, b"", False)


@ALL
async def test_a_whole_answer_of_status_200_that_says_it_failed(sim, call):
    body = json.loads((await ask(sim, call, "error_200", stream=False)).body)
    assert "error" in body
    assert body.get("status", "failed") == "failed"


async def test_a_whole_answer_that_is_torn(sim, request_id):
    garbled = await ask(sim, CHAT, "garbled", stream=False)
    assert not garbled.broken
    assert not is_json(garbled.body.decode())
    assert (await ask(sim, CHAT, "cut_mid_event", stream=False, request_id=request_id)).broken
    assert bill(sim, request_id)["state"] == "broken"


async def test_a_fault_may_be_asked_for_in_the_model_or_the_message(sim, request_id):
    model = ("openai", "/chat/completions", {"model": "gpt-4o!503", "messages": HELLO})
    assert (await ask(sim, model, "", stream=False, request_id=request_id)).status == 503
    assert bill(sim, request_id)["model"] == "gpt-4o"
    marked = [{"role": "user", "content": "please [[529]] now"}]
    assert (await ask(sim, (*CHAT[:2], CHAT[2] | {"messages": marked}), "", stream=False)).status == 529


def test_every_fault_is_tried_here():
    text = Path(__file__).read_text()
    assert [name for name in NAMES if name not in text] == []


@pytest.mark.parametrize("text", ["nonsense", "stall_mid:soon"])
def test_an_unknown_fault_is_named(text):
    with pytest.raises(UnknownFaultError, match=text.partition(":")[0]):
        Fault.parse(text)


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
