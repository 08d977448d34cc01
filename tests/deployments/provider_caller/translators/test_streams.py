"""Streams: their order, what providers do differently, and how they fail."""

from typing import Any

import orjson
import pytest

from deployments.protocols import Dialect
from deployments.provider_caller.sse import Event
from kit.errors import UpstreamError
from tests.deployments.provider_caller.translators.answers import Answer, Call, stream, whole
from tests.deployments.provider_caller.translators.official import (
    PAIRS,
    accumulated,
    events_of,
    pair,
    streamed,
    valid_events,
    valid_reply,
)

ASKED = {"stream_options": {"include_usage": True}}
ANSWER = Answer(reasoning="Hm.", text="Hello", calls=(Call("call_1", "f", '{"a":1}'),), stop="tool_calls")


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return orjson.dumps({"id": "chatcmpl-1", "model": "m", "created": 1, "choices": [choice], **more})


def call(index: int | None, arguments: str, id: str | None = None, name: str | None = None) -> bytes:
    function = {"arguments": arguments, **({"name": name} if name else {})}
    place = {} if index is None else {"index": index}
    return chunk({"tool_calls": [{**place, **({"id": id} if id else {}), "function": function}]})


def called(events: list[bytes]) -> list[tuple[str, str, Any]]:
    """The calls that an Anthropic client sees."""
    written = streamed(pair("anthropic_messages", "openai_chat"), {}, events)
    message = accumulated("anthropic_messages", valid_events("anthropic_messages", written))
    return [(block["id"], block["name"], block["input"]) for block in message["content"] if block["type"] == "tool_use"]


class TestOrder:
    def test_of_a_message(self) -> None:
        events = events_of(streamed(pair("anthropic_messages", "openai_chat"), {}, stream("openai_chat", ANSWER)))
        told = [(event["type"], event.get("index"), event.get("delta", {}).get("type")) for event in events]
        short = [one for place, one in enumerate(told) if place == 0 or told[place - 1] != one]
        assert short == [
            ("message_start", None, None),
            ("content_block_start", 0, None),
            ("content_block_delta", 0, "thinking_delta"),
            ("content_block_stop", 0, None),
            ("content_block_start", 1, None),
            ("content_block_delta", 1, "text_delta"),
            ("content_block_stop", 1, None),
            ("content_block_start", 2, None),
            ("content_block_delta", 2, "input_json_delta"),
            ("content_block_stop", 2, None),
            ("message_delta", None, None),
            ("message_stop", None, None),
        ]

    def test_of_a_response(self) -> None:
        provider: Dialect = "anthropic_messages"
        events = events_of(streamed(pair("openai_responses", provider), {}, stream(provider, ANSWER)))
        kinds = [event["type"].removeprefix("response.") for event in events]
        short = [one for place, one in enumerate(kinds) if place == 0 or kinds[place - 1] != one]
        assert short == [
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "completed",
        ]

    @pytest.mark.parametrize("provider", ["openai_responses", "anthropic_messages"])
    def test_of_a_completion(self, provider: Dialect) -> None:
        events = events_of(streamed(pair("openai_chat", provider), ASKED, stream(provider, ANSWER)))
        assert events[0]["choices"][0]["delta"]["role"] == "assistant"
        assert all("role" not in event["choices"][0]["delta"] for event in events[1:-1])
        assert [event["choices"][0]["finish_reason"] for event in events[-3:-1]] == [None, "tool_calls"]
        assert events[-1]["choices"] == []
        assert [event["usage"] is None for event in events] == [True] * (len(events) - 1) + [False]

    def test_text_is_passed_on_as_it_comes(self) -> None:
        translated = pair("anthropic_messages", "openai_chat").stream({})
        assert b'"text":"Hel"' in translated.feed([Event(chunk({"content": "Hel"}), b"", 0)])
        assert b'"text":"lo"' in translated.feed([Event(chunk({"content": "lo"}), b"", 0)])
        assert translated.feed([Event(chunk({}, "stop"), b"", 0)]) == b""
        assert b"end_turn" in translated.end()


class TestBlocksOfClaude:
    def test_two_texts_are_two_parts_of_one_message(self) -> None:
        events = self._events({"type": "text", "text": ""}, {"type": "text", "text": ""})
        written = streamed(pair("openai_responses", "anthropic_messages"), {}, events)
        response = accumulated("openai_responses", valid_events("openai_responses", written))
        assert [[part["text"] for part in item["content"]] for item in response["output"]] == [["block 0", "block 1"]]
        added = [event["content_index"] for event in events_of(written) if event["type"].endswith("part.added")]
        assert added == [0, 1]

    @pytest.mark.parametrize("given", [{}, {"a": 1}])
    def test_arguments_that_came_with_the_start_of_a_call(self, given: dict[str, Any]) -> None:
        events = self._events({"type": "tool_use", "id": "toolu_1", "name": "f", "input": given})
        written = streamed(pair("openai_chat", "anthropic_messages"), {}, events)
        message = accumulated("openai_chat", valid_events("openai_chat", written))["choices"][0]["message"]
        assert orjson.loads(message["tool_calls"][0]["function"]["arguments"]) == given

    def _events(self, *blocks: dict[str, Any]) -> list[bytes]:
        events = [orjson.loads(event) for event in stream("anthropic_messages", Answer())]
        inner = []
        for index, block in enumerate(blocks):
            inner.append({"type": "content_block_start", "index": index, "content_block": block})
            if block["type"] == "text":
                delta = {"type": "text_delta", "text": f"block {index}"}
                inner.append({"type": "content_block_delta", "index": index, "delta": delta})
            inner.append({"type": "content_block_stop", "index": index})
        return [orjson.dumps(event) for event in [events[0], *inner, *events[1:]]]


class TestCallsOfCompatibleServers:
    def test_calls_that_come_in_turns_are_put_one_after_the_other(self) -> None:
        events = [
            call(0, '{"a"', "c0", "f"), call(1, '{"b"', "c1", "g"), call(0, ":1"), call(1, ":2"),
            call(0, "}"), call(1, "}"), chunk({}, "tool_calls"),
        ]  # fmt: skip
        assert called(events) == [("c0", "f", {"a": 1}), ("c1", "g", {"b": 2})]

    def test_every_call_counted_as_0(self) -> None:
        events = [call(0, '{"a":1}', "c0", "f"), call(0, '{"b":2}', "c1", "g"), chunk({}, "stop")]
        assert called(events) == [("c0", "f", {"a": 1}), ("c1", "g", {"b": 2})]

    def test_calls_without_index_or_id(self) -> None:
        events = [call(None, '{"a"', None, "f"), call(None, ":1}"), call(None, "{}", None, "g"), chunk({}, "stop")]
        assert called(events) == [("call_0", "f", {"a": 1}), ("call_1", "g", {})]

    def test_a_call_without_arguments(self) -> None:
        assert called([call(0, "", "c0", "f"), chunk({}, "tool_calls")]) == [("c0", "f", {})]

    def test_text_after_a_call_is_a_part_of_its_own(self) -> None:
        events = [chunk({"content": "A"}), call(0, "{}", "c0", "f"), chunk({"content": "B"}), chunk({}, "stop")]
        written = streamed(pair("anthropic_messages", "openai_chat"), {}, events)
        message = accumulated("anthropic_messages", valid_events("anthropic_messages", written))
        assert [block["type"] for block in message["content"]] == ["text", "tool_use", "text"]
        assert message["stop_reason"] == "tool_use"

    def test_reasoning_under_its_other_name(self) -> None:
        events = [chunk({"reasoning": "Hm."}), chunk({"content": "A"}), chunk({}, "stop")]
        written = streamed(pair("anthropic_messages", "openai_chat"), {}, events)
        message = accumulated("anthropic_messages", valid_events("anthropic_messages", written))
        assert [block.get("thinking") or block.get("text") for block in message["content"]] == ["Hm.", "A"]

    def test_arguments_that_are_no_json_are_a_failure_and_cut_ones_are_left_out(self) -> None:
        broken = [call(0, '{"a":', "c0", "f"), chunk({}, "tool_calls")]
        with pytest.raises(UpstreamError, match="no JSON object"):
            called(broken)
        message = {
            "role": "assistant",
            "content": "A",
            "tool_calls": [orjson.loads(broken[0])["choices"][0]["delta"]["tool_calls"][0]],
        }
        completion = {"id": "1", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "length"}]}
        reply = pair("anthropic_messages", "openai_chat").reply(completion, {})
        assert [block["type"] for block in valid_reply("anthropic_messages", reply)["content"]] == ["text"]


@pytest.mark.parametrize(("caller", "provider"), PAIRS)
class TestFailures:
    def test_an_event_that_is_not_json(self, caller: Dialect, provider: Dialect) -> None:
        with pytest.raises(UpstreamError, match="not JSON"):
            pair(caller, provider).stream({}).feed([Event(b'{"id":', b"", 0)])

    def test_an_end_before_the_answer_was_complete(self, caller: Dialect, provider: Dialect) -> None:
        events = stream(provider, ANSWER)
        for length in range(len(events) - 4):
            translated = pair(caller, provider).stream({})
            translated.feed([Event(data, b"", 0) for data in events[:length]])
            with pytest.raises(UpstreamError):
                translated.end()

    def test_nothing_before_the_end_looks_like_one(self, caller: Dialect, provider: Dialect) -> None:
        translated = pair(caller, provider).stream(ASKED)
        written = translated.feed([Event(data, b"", 0) for data in stream(provider, ANSWER)])
        ends = (b"[DONE]", b"message_stop", b'stop_reason":"', b"response.completed", b'finish_reason":"')
        assert not any(end in written for end in ends)

    def test_an_error_in_the_stream_is_told_in_the_providers_words(self, caller: Dialect, provider: Dialect) -> None:
        stated = {"type": "overloaded_error", "message": "Too many"}
        error = orjson.dumps({"type": "error", "error": stated})
        with pytest.raises(UpstreamError, match="Too many"):
            pair(caller, provider).stream({}).feed([Event(error, b"", 0)])

    def test_unknown_events_and_fields_are_passed_over(self, caller: Dialect, provider: Dialect) -> None:
        events = stream(provider, ANSWER)
        unknown = [b'{"type":"response.new_thing","x":[{}]}', b'{"type":"ping"}', b'{"type":"content_block_flash"}']
        if provider == "openai_chat":
            unknown = [b'{"id":"chatcmpl-1","choices":[],"new":{}}']
        grown = [orjson.dumps({**orjson.loads(data), "new": [1]}) if data != b"[DONE]" else data for data in events]
        plain = streamed(pair(caller, provider), ASKED, events)
        assert streamed(pair(caller, provider), ASKED, [grown[0], *unknown, *grown[1:]]) == plain


def test_a_failed_response_is_a_failure() -> None:
    failed = {
        **whole("openai_responses", ANSWER),
        "status": "failed",
        "error": {"code": "server_error", "message": "No"},
    }
    translator = pair("openai_chat", "openai_responses")
    with pytest.raises(UpstreamError, match="No"):
        translator.reply(failed, {})
    events = [stream("openai_responses", ANSWER)[0], orjson.dumps({"type": "response.failed", "response": failed})]
    with pytest.raises(UpstreamError, match="No"):
        streamed(translator, {}, events)
