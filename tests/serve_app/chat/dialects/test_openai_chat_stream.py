from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.chat.dialects.events import events_of
from serve_app.chat.dialects.openai_chat_stream import Completion, replayed

WORDS = st.lists(st.text(min_size=1, max_size=20), max_size=6)


def whole(message: dict[str, Any], **fields: Any) -> bytes:
    said = {"role": "assistant", "refusal": None, **message}
    choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": "stop"}
    return orjson.dumps(
        {"id": "c", "object": "chat.completion", "created": 5, "model": "m", "choices": [choice], **fields}
    )


@given(WORDS)
def test_a_stored_completion_survives_being_replayed_and_gathered(words: list[str]) -> None:
    body = whole({"content": "".join(words)}, usage={"prompt_tokens": 1}, penstock={"answered": True, "citations": []})
    stream = replayed(body, include_usage=True)
    gathered = Completion()
    gathered.add(stream)
    assert stream.endswith(b"data: [DONE]\n\n")
    again = gathered.body()
    assert again is not None
    assert orjson.loads(again) == orjson.loads(body)


def test_usage_is_replayed_only_to_those_who_asked() -> None:
    body = whole({"content": "x"}, usage={"prompt_tokens": 1})
    assert not any("usage" in event for event in events_of(replayed(body, include_usage=False)))


def test_tool_calls_are_replayed_with_their_index() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    events = [*events_of(replayed(whole({"content": None, "tool_calls": [call]}), include_usage=False))]
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "tool_calls": [{"index": 0, **call}]}


@pytest.mark.parametrize(
    "choice",
    [
        {"index": 0, "delta": {"tool_calls": []}, "finish_reason": "tool_calls"},
        {"index": 1, "delta": {"content": "second"}, "finish_reason": "stop"},
        {"index": 0, "delta": {"content": "no end"}, "finish_reason": None},
    ],
)
def test_only_one_finished_choice_of_text_makes_a_completion(choice: dict[str, Any]) -> None:
    gathered = Completion()
    gathered.add_event({"id": "c", "choices": [choice]})
    assert gathered.body() is None
