"""A conversation that goes to another dialect and back says the same."""

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.protocols import Dialect
from tests.deployments.provider_caller.translators.official import pair, valid_request

texts = st.text(min_size=1, max_size=12)
png = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}
arguments = st.dictionaries(st.text(max_size=4), st.integers(-5, 5) | st.text(max_size=4), max_size=2)


@st.composite
def turns(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Turns of user and assistant, tools called and answered between them."""
    messages: list[dict[str, Any]] = []
    if draw(st.booleans()):
        messages.append({"role": "system", "content": draw(texts)})
    number = 0
    for _ in range(draw(st.integers(0, 3))):
        messages.append(draw(user()))
        calls = []
        for given_arguments in draw(st.lists(arguments, max_size=3)):
            number += 1
            function = {"name": f"tool_{number}", "arguments": orjson.dumps(given_arguments).decode()}
            calls.append({"id": f"call_{number}", "type": "function", "function": function})
        text = draw(texts if not calls else st.none() | texts)
        messages.append({"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})})
        messages += [{"role": "tool", "tool_call_id": call["id"], "content": draw(texts)} for call in calls]
    return [*messages, draw(user())]


@st.composite
def user(draw: st.DrawFn) -> dict[str, Any]:
    text = draw(texts)
    if not draw(st.booleans()):
        return {"role": "user", "content": text}
    return {"role": "user", "content": [{"type": "text", "text": text}, png]}


def there_and_back(messages: list[dict[str, Any]], other: Dialect) -> list[dict[str, Any]]:
    there = pair("openai_chat", other).request({"messages": messages}, model="claude-opus-5-5")
    valid_request(other, there)
    back = pair(other, "openai_chat").request(there, model="gpt-6-luna")
    return [without_detail(message) for message in valid_request("openai_chat", back)["messages"]]


def without_detail(message: dict[str, Any]) -> dict[str, Any]:
    """Responses want a detail with every image; it is the default one."""
    for part in message["content"] if isinstance(message["content"], list) else ():
        if part["type"] == "image_url":
            part["image_url"].pop("detail", None)
    return message


@given(turns())
@settings(max_examples=60, deadline=None)
def test_chat_to_messages_and_back(messages: list[dict[str, Any]]) -> None:
    assert there_and_back(messages, "anthropic_messages") == messages


@given(turns())
@settings(max_examples=60, deadline=None)
def test_chat_to_responses_and_back(messages: list[dict[str, Any]]) -> None:
    assert there_and_back(messages, "openai_responses") == messages
