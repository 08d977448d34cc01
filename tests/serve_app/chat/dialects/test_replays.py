"""A stored answer, replayed: the official types accept each event, and what is gathered from them is the answer."""

from typing import Any

import orjson
import pytest
from anthropic.types import RawMessageStreamEvent
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from deployments.protocols import Dialect
from serve_app.chat.dialects import anthropic_messages, openai_chat, openai_responses
from serve_app.chat.dialects.events import events_of
from serve_app.chat.dialects.request import DialectRequest
from tests.serve_app.scripted_replies import Said, stream, whole

DIALECTS: tuple[Dialect, ...] = ("openai_chat", "openai_responses", "anthropic_messages")
OFFICIAL: dict[Dialect, TypeAdapter[Any]] = {
    "openai_chat": TypeAdapter(ChatCompletionChunk),
    "openai_responses": TypeAdapter(ResponseStreamEvent),
    "anthropic_messages": TypeAdapter(RawMessageStreamEvent),
}
each = pytest.mark.parametrize("dialect", DIALECTS)


def request(dialect: Dialect) -> DialectRequest:
    user = [{"role": "user", "content": "hi"}]
    if dialect == "openai_chat":
        fields = {"model": "m", "messages": user, "stream_options": {"include_usage": True}}
        return openai_chat.parse(orjson.dumps(fields))
    if dialect == "openai_responses":
        return openai_responses.parse(orjson.dumps({"model": "m", "input": user}))
    return anthropic_messages.parse(orjson.dumps({"model": "m", "messages": user, "max_tokens": 9}))


def official(dialect: Dialect, events: bytes) -> list[Any]:
    return [OFFICIAL[dialect].validate_python(event) for event in events_of(events)]


@each
@pytest.mark.parametrize("said", [Said("m"), Said("m", words=("",)), Said("m", tool="weather")], ids=str)
def test_official_types_accept_every_event(dialect: Dialect, said: Said) -> None:
    assert official(dialect, request(dialect).replay(whole(dialect, said)))


@each
def test_a_replay_gathered_is_the_stored_answer(dialect: Dialect) -> None:
    stored = orjson.loads(whole(dialect, Said("m"))) | {"penstock": {"answered": True, "citations": []}}
    gathering = request(dialect).gathering()
    gathering.add(request(dialect).replay(orjson.dumps(stored)))
    again = orjson.loads(gathering.body(None) or b"{}")
    if dialect == "anthropic_messages":
        again["content"][0].pop("citations")
    assert again == stored


@each
def test_a_providers_stream_gathered_is_a_whole_answer(dialect: Dialect) -> None:
    gathering = request(dialect).gathering()
    for events in stream(dialect, Said("m", include_usage=True)):
        gathering.add(events)
    again = orjson.loads(gathering.body(None) or b"{}")
    wanted = orjson.loads(whole(dialect, Said("m")))
    if dialect == "anthropic_messages":
        again["content"][0].pop("citations")
    assert again == wanted


@each
def test_more_than_text_and_streams_without_an_end_are_not_gathered(dialect: Dialect) -> None:
    calls, cut = request(dialect).gathering(), request(dialect).gathering()
    for events in stream(dialect, Said("m", tool="weather")):
        calls.add(events)
    for events in [*stream(dialect, Said("m"))][:-2]:
        cut.add(events)
    assert calls.body(None) is None
    assert cut.body(None) is None


def test_thoughts_and_unknown_blocks_of_a_message_are_replayed() -> None:
    blocks = [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "Yes.", "citations": None},
    ]
    body = orjson.dumps(orjson.loads(whole("anthropic_messages", Said("m"))) | {"content": blocks})
    events = official("anthropic_messages", request("anthropic_messages").replay(body))
    started = [event.content_block.type for event in events if event.type == "content_block_start"]
    assert started == ["thinking", "redacted_thinking", "text"]
    deltas = [event.delta.type for event in events if event.type == "content_block_delta"]
    assert deltas == ["thinking_delta", "signature_delta", "text_delta"]


def test_refusals_and_reasoning_of_a_response_are_replayed_and_an_incomplete_one_stays_so() -> None:
    refused = {"id": "m", "type": "message", "role": "assistant", "status": "completed"}
    output = [
        {"id": "r", "type": "reasoning", "summary": []},
        {**refused, "content": [{"type": "refusal", "refusal": "No."}]},
    ]
    changes = {"output": output, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    body = orjson.dumps(orjson.loads(whole("openai_responses", Said("m"))) | changes)
    events = official("openai_responses", request("openai_responses").replay(body))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.incomplete"
    assert any(event.type == "response.refusal.delta" and event.delta == "No." for event in events)
