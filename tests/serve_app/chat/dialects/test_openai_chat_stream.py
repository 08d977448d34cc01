from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CompletionUsage

from deployments.protocols import Usage
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
    again = gathered.body(None)
    assert again is not None
    assert orjson.loads(again) == orjson.loads(body)


def test_usage_is_replayed_only_to_those_who_asked() -> None:
    body = whole({"content": "x"}, usage={"prompt_tokens": 1})
    assert not any("usage" in event for event in events_of(replayed(body, include_usage=False)))


def test_a_stored_answer_tells_the_usage_though_its_stream_did_not() -> None:
    """Who asks again may want it, and a whole answer always has it."""
    gathered = Completion()
    gathered.add(replayed(whole({"content": "x"}), include_usage=False))
    stored = gathered.body(Usage(7, 5, cached_tokens=3))
    assert stored is not None
    usage = CompletionUsage.model_validate(orjson.loads(stored)["usage"])
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, 5, 12)
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 3


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
    assert gathered.body(None) is None
