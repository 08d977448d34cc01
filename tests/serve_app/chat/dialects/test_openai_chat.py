from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import ValidationError
from serve_app.chat.dialects.openai_chat import parse

USER = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "model"),
        ({"model": 3, "messages": [USER]}, "model"),
        ({"model": "", "messages": [USER]}, "model"),
        ({"model": "m"}, "messages"),
        ({"model": "m", "messages": []}, "messages"),
        ({"model": "m", "messages": "hi"}, "messages"),
        ({"model": "m", "messages": [USER, "hi"]}, "messages[1]"),
        ({"model": "m", "messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"model": "m", "messages": [{"role": "robot", "content": "hi"}]}, "messages[0].role"),
        ({"model": "m", "messages": [{"role": "user"}]}, "messages[0].content"),
        ({"model": "m", "messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"model": "m", "messages": [{"role": "user", "content": ["hi"]}]}, "messages[0].content[0]"),
        ({"model": "m", "messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"model": "m", "messages": [USER], "stream": "yes"}, "stream"),
        ({"model": "m", "messages": [USER], "stream_options": []}, "stream_options"),
        ({"model": "m", "messages": [USER], "temperature": "hot"}, "temperature"),
        ({"model": "m", "messages": [USER], "temperature": 2.1}, "temperature"),
        ({"model": "m", "messages": [USER], "n": 0}, "n"),
        ({"model": "m", "messages": [USER], "penstock": []}, "penstock"),
        ({"model": "m", "messages": [USER], "penstock": {"collection": 1}}, "penstock.collection"),
        ({"model": "m", "messages": [USER], "penstock": {"mode": "best"}}, "penstock.mode"),
        ({"model": "m", "messages": [USER], "penstock": {"cache": "no"}}, "penstock.cache"),
    ],
)
def test_a_wrong_field_is_named_by_its_path(body: Any, field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        parse(orjson.dumps(body))
    assert list(caught.value.details) == [field]
    assert field in caught.value.message


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b'{"model": NaN}', b"[" * 5000])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(ValidationError, match="request body"):
        parse(body)


def test_the_question_is_the_text_of_the_last_user_message() -> None:
    parts = [
        {"type": "text", "text": "one"},
        {"type": "image_url", "image_url": {"url": "x"}},
        {"type": "text", "text": "two"},
    ]
    messages = [USER, {"role": "user", "content": parts}, {"role": "assistant", "content": None}]
    assert parse(orjson.dumps({"model": "m", "messages": messages})).question == "one\ntwo"
    assert parse(orjson.dumps({"model": "m", "messages": [{"role": "system", "content": "x"}]})).question == ""


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=12,
)
FIELDS = (
    "model",
    "messages",
    "role",
    "content",
    "type",
    "text",
    "stream",
    "n",
    "temperature",
    "penstock",
    "collection",
)


@given(st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON | st.binary())
def test_any_input_is_parsed_or_refused(value: Any) -> None:
    body = value if isinstance(value, bytes) else orjson.dumps(value)
    try:
        chat = parse(body)
    except ValidationError as refusal:
        problems = refusal.details
    else:
        problems = {}
        assert chat.model
        assert isinstance(chat.question, str)
    assert all(problems.values())
