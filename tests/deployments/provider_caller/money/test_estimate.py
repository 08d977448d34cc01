from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.provider_caller.money.estimate import output_bound, prompt_bound, prompt_tokens

FLAT: Any = {"image_tokens": 1000, "file_tokens": 5000, "assumed": 90_000}
PICTURE = "data:image/png;base64," + "A" * 100_000

REQUESTS: list[tuple[Any, str, int]] = [
    ({"messages": [{"role": "user", "content": "12345678"}]}, "openai_chat", 2),
    ({"messages": [{"role": "user", "content": "123456789"}]}, "openai_chat", 3),
    ({"messages": [{"role": "user", "content": ""}]}, "openai_chat", 1),
    (
        {
            "messages": [
                {"role": "system", "content": "1234"},
                {"role": "user", "content": [{"type": "text", "text": "é"}, {"type": "image_url", "image_url": {}}]},
                {"role": "assistant", "content": None, "tool_calls": [{"function": {"arguments": "123456789"}}]},
                {"role": "tool", "tool_call_id": "c", "content": "12"},
            ],
            "tools": [{"type": "function", "function": {"name": "long_enough_to_count"}}],
        },
        "openai_chat",
        2,
    ),
    ({"instructions": "1234", "input": "12345"}, "openai_responses", 3),
    (
        {
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "1234"}]},
                {"type": "function_call_output", "call_id": "c", "output": "1234"},
                {"type": "function_call_output", "call_id": "d", "output": [{"type": "input_text", "text": "1234"}]},
            ]
        },
        "openai_responses",
        3,
    ),
    (
        {
            "system": [{"type": "text", "text": "1234"}],
            "messages": [
                {"role": "user", "content": "1234"},
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t", "content": "1234"},
                        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "1234"}]},
                    ],
                },
            ],
        },
        "anthropic_messages",
        4,
    ),
]


@pytest.mark.parametrize(("content", "dialect", "tokens"), REQUESTS)
def test_the_estimate_is_a_quarter_of_the_bytes_of_all_texts(content: Any, dialect: Any, tokens: int) -> None:
    assert prompt_tokens(content, dialect) == tokens
    assert prompt_bound(content, dialect, **FLAT) >= tokens


def test_pictures_and_files_count_flat_however_large_they_are() -> None:
    def bound(*parts: Any, dialect: Any = "openai_chat") -> int:
        return prompt_bound({"messages": [{"role": "user", "content": list(parts)}]}, dialect, **FLAT)

    empty = bound()
    assert 1000 <= bound({"type": "image_url", "image_url": {"url": PICTURE}}) - empty < 1100
    assert 2000 <= bound(*[{"type": "image_url", "image_url": {"url": PICTURE}}] * 2) - empty < 2200
    image = {"type": "image", "source": {"type": "base64", "data": PICTURE}}
    assert 1000 <= bound(image, dialect="anthropic_messages") - empty < 1100
    result = {"type": "tool_result", "tool_use_id": "t", "content": [image]}
    assert 1000 <= bound(result, dialect="anthropic_messages") - empty < 1200
    document = {"type": "document", "source": {"type": "base64", "data": PICTURE}}
    assert 5000 <= bound(document, dialect="anthropic_messages") - empty < 5100
    text = {"type": "document", "source": {"type": "text", "data": "x" * 9000}}
    assert bound(text, dialect="anthropic_messages") - empty > 14_000


def test_tools_schemas_and_what_lies_with_the_provider_are_bound() -> None:
    plain: Any = {"input": "hi"}
    bound = prompt_bound(plain, "openai_responses", **FLAT)
    tools = [{"type": "function", "name": "f", "parameters": {"type": "object", "description": "d" * 3000}}]
    assert prompt_bound({**plain, "tools": tools}, "openai_responses", **FLAT) > bound + 4000
    schema = {"format": {"type": "json_schema", "schema": {"description": "d" * 3000}}}
    assert prompt_bound({**plain, "text": schema}, "openai_responses", **FLAT) > bound + 3000
    assert prompt_bound({**plain, "previous_response_id": "resp_1"}, "openai_responses", **FLAT) == 90_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2**53) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "content", "output", "source", "role"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(content=JSON, dialect=st.sampled_from(["openai_chat", "openai_responses", "anthropic_messages"]))
def test_any_content_has_a_bound_above_its_estimate(content: Any, dialect: Any) -> None:
    body = {"messages": content, "input": content, "system": content, "instructions": content}
    flat = {"image_tokens": 10_000, "file_tokens": 10_000, "assumed": 1}
    assert 1 <= prompt_tokens(body, dialect) <= prompt_bound(body, dialect, **flat)


@pytest.mark.parametrize(
    ("content", "dialect", "n", "bound"),
    [
        ({"max_tokens": 10}, "openai_chat", 1, 10),
        ({"max_tokens": 10, "max_completion_tokens": 20}, "openai_chat", 3, 60),
        ({"max_output_tokens": 7}, "openai_responses", 1, 7),
        ({"max_tokens": 7}, "openai_responses", 1, 500),
        ({}, "anthropic_messages", 2, 1000),
        ({"max_tokens": None}, "openai_chat", 1, 500),
        ({"max_tokens": True}, "openai_chat", 1, 500),
        ({"max_tokens": "12"}, "openai_chat", 0, 500),
    ],
)
def test_output_is_bound_by_the_request_else_by_the_model(content: Any, dialect: Any, n: int, bound: int) -> None:
    assert output_bound(content, dialect, 500, n, assumed=99) == bound


def test_output_of_an_unknown_model_is_assumed() -> None:
    assert output_bound({}, "openai_chat", None, 2, assumed=99) == 198
