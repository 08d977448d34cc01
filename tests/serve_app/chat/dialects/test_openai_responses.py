import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import UpstreamError, ValidationError
from serve_app.chat.dialects.openai_responses import parse

BODY = {"model": "m", "input": "hi"}


def parsed(**fields: Any) -> Any:
    return parse(orjson.dumps({**BODY, **fields}))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"model": ""}, "model"),
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["hi"]}, "input[0]"),
        ({"input": [{"content": "hi"}]}, "input[0].role"),
        ({"input": [{"role": "tool", "content": "hi"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"type": 5}]}, "input[0].type"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"background": True}, "background"),
        ({"instructions": ["x"]}, "instructions"),
        ({"stream": 1}, "stream"),
        ({"temperature": 3}, "temperature"),
        ({"penstock": 5}, "penstock"),
    ],
)
def test_a_wrong_field_is_named_by_its_path(fields: Any, field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        parsed(**fields)
    assert list(caught.value.details) == [field]


def test_stateful_fields_that_ask_for_nothing_pass() -> None:
    chat = parsed(previous_response_id=None, conversation=None, background=False, store=True)
    assert chat.body["store"] is True


def test_the_question_is_the_text_of_the_last_user_message() -> None:
    parts = [{"type": "input_text", "text": "one"}, {"type": "input_image", "image_url": "x"}]
    output = {"type": "function_call_output", "call_id": "c", "output": "22"}
    assert parsed().question == "hi"
    assert parsed(input=[{"role": "user", "content": parts}, output]).question == "one"
    assert parsed(input=[output]).question == ""


def test_a_system_text_is_put_after_the_callers_instructions() -> None:
    assert parsed().with_system("two")["instructions"] == "two"
    assert parsed(instructions="one").with_system("two")["instructions"] == "one\n\ntwo"


def test_an_error_goes_on_with_the_numbers_of_the_events_before_it() -> None:
    tail = b'event: x\ndata: {"type":"x","sequence_number": 41}\n\nevent: y\ndata: {"sequence_number":42}\n\n'
    event = parsed().error_event(UpstreamError("gone"), "req_1", tail)
    name, data = event.decode().strip().split("\n")
    content = orjson.loads(data.removeprefix("data: "))
    assert name == "event: error"
    assert (content["type"], content["message"], content["sequence_number"]) == ("error", "gone", 43)
    assert content["error"]["message"] == "gone"
    assert b'"sequence_number":0,' in parsed().error_event(UpstreamError("gone"), "req_1", b"")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["model", "input", "instructions", "stream", "temperature", "conversation", "penstock"]), JSON)
def test_any_value_of_any_field_is_parsed_or_refused(name: str, value: Any) -> None:
    with contextlib.suppress(ValidationError):
        chat = parsed(**{name: value})
        assert isinstance(chat.question, str)
        assert orjson.dumps(chat.with_system("x"))
