"""Whatever comes in: a valid result, or the error that fits whoever sent it."""

import copy
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.protocols import Dialect
from deployments.provider_caller.sse import Event
from kit.errors import PenstockError, UnprocessableError, UpstreamError, ValidationError
from tests.deployments.provider_caller.translators.answers import Answer, Call, stream, whole
from tests.deployments.provider_caller.translators.official import PAIRS, pair, valid_events, valid_reply

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
Pair = tuple[Dialect, Dialect]

ANSWER = Answer(
    reasoning="Hm.", text="Hello", calls=(Call("c", "f", '{"a":1}'), Call("d", "g", "{}")), stop="tool_calls"
)
CHAT_REQUEST: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "S"},
        {"role": "user", "content": [{"type": "text", "text": "T"}, {"type": "image_url", "image_url": {"url": "u"}}]},
        {
            "role": "assistant",
            "content": "A",
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "R"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
    "reasoning_effort": "low",
    "max_tokens": 5,
}
MESSAGES_REQUEST: dict[str, Any] = {
    "max_tokens": 5,
    "system": [{"type": "text", "text": "S"}],
    "messages": [
        {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "u"}}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "R"}]}],
        },
    ],
    "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}}}],
    "tool_choice": {"type": "tool", "name": "f"},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    "thinking": {"type": "adaptive"},
}
RESPONSES_REQUEST: dict[str, Any] = {
    "instructions": "I",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "T"}, {"type": "input_image", "image_url": "u"}]},
        {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "H"}], "encrypted_content": "e"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "R"}]},
    ],
    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
    "tool_choice": {"type": "function", "name": "f"},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
    "reasoning": {"effort": "low"},
}
REQUESTS: dict[Dialect, dict[str, Any]] = {
    "openai_chat": CHAT_REQUEST,
    "openai_responses": RESPONSES_REQUEST,
    "anthropic_messages": MESSAGES_REQUEST,
}

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=4),
)
names = st.sampled_from(
    ["type", "role", "content", "index", "id", "text", "delta", "usage", "choices", "name", "output"]
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | st.text(max_size=3), inner, max_size=4),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


@st.composite
def damaged(draw: st.DrawFn, document: Any) -> Any:
    """A document in which something has been replaced or taken away."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(places(document)))
        if not path:
            return draw(anything)
        parent = document
        for key in path[:-1]:
            parent = parent[key]
        if isinstance(parent, dict) and draw(st.booleans()):
            del parent[path[-1]]
        else:
            parent[path[-1]] = draw(anything)
    return document


@given(st.data(), st.sampled_from(PAIRS))
@quick
def test_a_damaged_request_is_translated_or_its_field_is_named(data: st.DataObject, chosen: Pair) -> None:
    caller, provider = chosen
    request = data.draw(damaged(REQUESTS[caller]))
    if not isinstance(request, dict):
        return  # The caller's body was parsed as an object before.
    problem: PenstockError | None = None
    try:
        orjson.dumps(pair(caller, provider).request(request, model="claude-opus-5-5"))
    except (ValidationError, UnprocessableError) as error:
        problem = error
    if problem is not None:
        assert problem.details
        assert all(f"`{field}`" in problem.message for field in problem.details)


@given(st.data(), st.sampled_from(PAIRS))
@quick
def test_a_damaged_answer_is_translated_validly_or_the_providers_fault(data: st.DataObject, chosen: Pair) -> None:
    caller, provider = chosen
    answer = data.draw(damaged(whole(provider, ANSWER)))
    try:
        reply = pair(caller, provider).reply(answer, {})
    except UpstreamError:
        return
    valid_reply(caller, reply)


@given(st.data(), st.sampled_from(PAIRS))
@quick
def test_a_damaged_stream_is_translated_or_the_providers_fault(data: st.DataObject, chosen: Pair) -> None:
    caller, provider = chosen
    events = [orjson.loads(event) for event in stream(provider, ANSWER) if event != b"[DONE]"]
    damage = data.draw(damaged(events))
    translated = pair(caller, provider).stream({})
    try:
        written = translated.feed(
            [Event(orjson.dumps(event), b"", 0) for event in (damage if isinstance(damage, list) else [damage])]
        )
        valid_events(caller, written + translated.end())
    except UpstreamError:
        return


@given(st.sampled_from(PAIRS), st.lists(anything, max_size=4))
@quick
def test_any_json_at_all(chosen: Pair, events: list[Any]) -> None:
    caller, provider = chosen
    translated = pair(caller, provider).stream({})
    for event in events:
        try:
            translated.feed([Event(orjson.dumps(event), b"", 0)])
            pair(caller, provider).reply(event, {})
        except UpstreamError:
            return
