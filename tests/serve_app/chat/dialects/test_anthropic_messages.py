import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import ValidationError
from serve_app.chat.dialects.anthropic_messages import parse, parse_count

USER = {"role": "user", "content": "hi"}
BODY = {"model": "m", "max_tokens": 5, "messages": [USER]}


def parsed(**fields: Any) -> Any:
    return parse(orjson.dumps({**BODY, **fields}))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [5]}]}, "messages[0].content[0]"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"system": 5}, "system"),
        ({"system": ["x"]}, "system[0]"),
        ({"stream": "yes"}, "stream"),
        ({"temperature": 1.5}, "temperature"),
        ({"penstock": {"mode": "best"}}, "penstock.mode"),
    ],
)
def test_a_wrong_field_is_named_by_its_path(fields: Any, field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        parsed(**fields)
    assert list(caught.value.details) == [field]


def test_the_question_is_the_last_user_text_and_not_a_tools_result() -> None:
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "22"}]}
    messages = [{"role": "user", "content": [{"type": "text", "text": "How warm?"}]}, result]
    assert parsed(messages=messages).question == "How warm?"
    assert parsed(messages=[result]).question == ""


def test_a_system_text_is_put_after_the_callers_own() -> None:
    blocks = [{"type": "text", "text": "one"}]
    assert parsed().with_system("two")["system"] == "two"
    assert parsed(system="one").with_system("two")["system"] == "one\n\ntwo"
    assert parsed(system=blocks).with_system("two")["system"] == [*blocks, {"type": "text", "text": "two"}]


def test_the_penstock_field_is_taken_out_and_the_rest_stays_as_it_came() -> None:
    raw = orjson.dumps(BODY)
    assert parse(raw).raw == raw
    chat = parsed(penstock={"collection": "c", "cache": False}, top_k=3)
    assert (chat.raw, chat.extras.collection, chat.extras.use_cache) == (None, "c", False)
    assert chat.body == {**BODY, "top_k": 3}


def test_only_what_shapes_the_answer_is_an_option() -> None:
    options = parsed(stream=True, metadata={"user_id": "u"}, service_tier="auto", system="s", tools=[]).options()
    assert options == {"max_tokens": 5, "system": "s", "tools": []}


def test_counting_needs_no_limit() -> None:
    assert parse_count(orjson.dumps({"model": "m", "messages": [USER]})).question == "hi"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["model", "messages", "system", "max_tokens", "stream", "temperature", "penstock"]), JSON)
def test_any_value_of_any_field_is_parsed_or_refused(name: str, value: Any) -> None:
    with contextlib.suppress(ValidationError):
        chat = parsed(**{name: value})
        assert isinstance(chat.question, str)
        assert orjson.dumps(chat.with_system("x"))
