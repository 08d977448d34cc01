from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.protocols import Usage
from deployments.provider_caller.stream_watch import ChatWatch, MessagesWatch, ResponsesWatch
from deployments.provider_caller.usage import read_chat_usage, read_messages_usage, read_responses_usage

TRICKY = st.sampled_from(
    ["[DONE]", '"error"', '"usage":{', '"finish_reason":"', "word", "data: [DONE]\n\n", "message_stop", ""]
)
ENDS = st.sampled_from([b"\n\n", b"\r\n\r\n"])
CHUNKS = st.lists(st.tuples(TRICKY, ENDS))


def chat_watch(**options: Any) -> ChatWatch:
    return ChatWatch(read_chat_usage, **options)


def chunk(text: str) -> bytes:
    return b"data: " + orjson.dumps({"choices": [{"delta": {"content": text}, "finish_reason": None}], "usage": None})


def joined(chunks: list[tuple[str, bytes]]) -> bytes:
    return b"".join(chunk(words) + end for words, end in chunks)


def named(kind: str, **content: Any) -> bytes:
    return f"event: {kind}\n".encode() + b"data: " + orjson.dumps({"type": kind, **content}) + b"\n\n"


@given(CHUNKS, CHUNKS, ENDS)
def test_only_a_real_end_ends_a_stream(
    before: list[tuple[str, bytes]], after: list[tuple[str, bytes]], ends: bytes
) -> None:
    watch = chat_watch()
    text = joined(before) + b': "error" [DONE]' + ends
    assert watch.see(text) == text
    assert not watch.ended
    done = b"data: [DONE]" + ends
    assert watch.see(text + done + joined(after)) == text + done
    assert (watch.done, watch.failed) == (True, False)


@given(CHUNKS, ENDS, st.booleans())
def test_usage_is_found_wherever_it_stands(around: list[tuple[str, bytes]], ends: bytes, hide: bool) -> None:
    text = joined(around)
    counts = b'{"prompt_tokens":7,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":3}}'
    usage = b'data: {"choices":[],"usage": ' + counts + b"}" + ends
    watch = chat_watch(hide_usage=hide)
    assert watch.see(text + usage + text) == (text + text if hide else text + usage + text)
    assert (watch.usage, watch.counted) == (Usage(7, 2, 3), True)


def test_nothing_is_read_after_an_error() -> None:
    error = b'data: {"error":{"message":"x"}}\n\n'
    watch = chat_watch()
    assert watch.see(chunk("a") + b"\n\n" + error + b"data: [DONE]\n\n") == chunk("a") + b"\n\n" + error
    assert (watch.done, watch.failed, watch.told, watch.error) == (False, True, True, {"message": "x"})


def test_counts_in_the_middle_of_an_answer_are_not_the_final_ones() -> None:
    watch = chat_watch()
    watch.see(b'data: {"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":7,"completion_tokens":1}}\n\n')
    assert (watch.usage, watch.counted) == (Usage(7, 1), False)


def test_a_chunk_by_which_groq_stops_early_is_a_failure_and_not_passed_on() -> None:
    watch = chat_watch()
    stopped = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}],"x_groq":{"error":"over capacity"}}\n\n'
    assert watch.see(chunk("a") + b"\n\n" + stopped) == chunk("a") + b"\n\n"
    assert (watch.failed, watch.told, watch.error) == (True, False, "over capacity")


def test_anthropics_counts_are_put_together_and_brought_to_one_meaning() -> None:
    watch = MessagesWatch(read_messages_usage)
    started = {"input_tokens": 5, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 10, "output_tokens": 1}
    watch.see(named("message_start", message={"usage": started}))
    assert (watch.usage, watch.counted) == (Usage(115, 0, 100, 10), False)
    watch.see(named("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 9}))
    assert (watch.usage, watch.counted, watch.done) == (Usage(115, 9, 100, 10), True, False)
    assert watch.closing() == named("message_stop")
    watch.see(named("message_stop"))
    assert watch.done


def test_anthropics_errors_end_a_stream() -> None:
    watch = MessagesWatch(read_messages_usage)
    error = named("error", error={"type": "overloaded_error", "message": "Overloaded"})
    assert watch.see(named("ping") + error + named("message_stop")) == named("ping") + error
    assert (watch.done, watch.failed) == (False, True)


@pytest.mark.parametrize(
    ("kind", "done"), [("completed", True), ("incomplete", True), ("failed", False), ("cancelled", False)]
)
def test_a_response_ends_well_or_badly_by_its_last_event(kind: str, done: bool) -> None:
    watch = ResponsesWatch(read_responses_usage)
    usage = {"input_tokens": 7, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 3}}
    created = named("response.created", response={"error": None})
    assert watch.see(created) == created
    assert not watch.ended
    watch.see(named(f"response.{kind}", response={"usage": usage}))
    assert (watch.done, watch.failed) == (done, not done)
    assert (watch.usage, watch.counted) == (Usage(7, 2, 3), True)
    assert watch.closing() is None


@pytest.mark.parametrize(
    ("watch", "announcement", "answer"),
    [
        (
            ChatWatch(read_chat_usage),
            b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n',
            b'data: {"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}\n\n',
        ),
        (
            MessagesWatch(read_messages_usage),
            named("message_start") + named("ping") + named("content_block_start"),
            named("content_block_delta"),
        ),
        (
            ResponsesWatch(read_responses_usage),
            named("response.created") + named("response.output_item.added"),
            named("response.output_text.delta"),
        ),
    ],
)
def test_an_answer_begins_with_its_first_token(watch: Any, announcement: bytes, answer: bytes) -> None:
    assert not watch.begins(b": hello\n\n" + announcement)
    assert watch.begins(announcement + answer)
    assert not watch.failed
