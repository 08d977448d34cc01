"""Answers in translation: judged by the official types, and by what the official clients make of the streams."""

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.protocols import Dialect
from tests.deployments.provider_caller.translators.answers import MODEL, Answer, Call, stream, whole
from tests.deployments.provider_caller.translators.official import (
    NOW,
    PAIRS,
    accumulated,
    pair,
    streamed,
    valid_events,
    valid_reply,
)

Pair = tuple[Dialect, Dialect]
every_pair = pytest.mark.parametrize(("caller", "provider"), PAIRS)

REQUESTS: dict[Dialect, dict[str, Any]] = {
    "openai_chat": {"model": "auto", "messages": [], "stream_options": {"include_usage": True}},
    "openai_responses": {"model": "auto", "input": "Hi", "instructions": "Be brief.", "metadata": {"a": "b"}},
    "anthropic_messages": {"model": "auto", "max_tokens": 10, "messages": []},
}
CALLS = (Call("call_1", "weather", '{"city":"Paris","days":[1,2]}'), Call("call_2", "clock", "{}"))
ANSWERS = {
    "text": Answer(text="Hello, wörld! 👋"),
    "counts": Answer(text="Hi", input=1000, cached=600, written=300, output=50, reasoned=20),
    "reasoning": Answer(reasoning="Let me see. It is late.", text="No."),
    "calls": Answer(text="I shall look.", calls=CALLS, stop="tool_calls"),
    "calls only": Answer(calls=CALLS[:1], stop="tool_calls"),
    "everything": Answer(reasoning="Hm.", text="So.", calls=CALLS, stop="tool_calls", reasoned=3),
    "cut": Answer(text="And then the", stop="length"),
    "filtered": Answer(text="I", stop="filtered"),
}
every_answer = pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())


def meaning(dialect: Dialect, body: dict[str, Any]) -> Answer:
    """What a caller reads in an answer."""
    match dialect:
        case "openai_chat":
            return _of_completion(body)
        case "openai_responses":
            return _of_response(body)
        case "anthropic_messages":
            return _of_message(body)


def _of_completion(body: dict[str, Any]) -> Answer:
    choice, usage = body["choices"][0], body["usage"]
    message = choice["message"]
    calls = [(call["id"], call["function"]) for call in message.get("tool_calls") or ()]
    return Answer(
        text=message.get("content") or "",
        reasoning=message.get("reasoning_content", ""),
        calls=tuple(Call(id, function["name"], function["arguments"]) for id, function in calls),
        stop={"content_filter": "filtered"}.get(choice["finish_reason"], choice["finish_reason"]),
        input=usage["prompt_tokens"],
        cached=usage["prompt_tokens_details"]["cached_tokens"],
        written=usage["prompt_tokens_details"]["cache_write_tokens"],
        output=usage["completion_tokens"],
        reasoned=usage["completion_tokens_details"]["reasoning_tokens"],
    )


def _of_response(body: dict[str, Any]) -> Answer:
    usage, items = body["usage"], body["output"]
    texts = [part["text"] for item in items if item["type"] == "message" for part in item["content"]]
    summaries = [part["text"] for item in items if item["type"] == "reasoning" for part in item["summary"]]
    calls = [item for item in items if item["type"] == "function_call"]
    reason = (body["incomplete_details"] or {}).get("reason")
    stop = {"max_output_tokens": "length", "content_filter": "filtered"}.get(reason)
    assert (body["status"] == "completed") == (stop is None)
    return Answer(
        text="".join(texts),
        reasoning="".join(summaries),
        calls=tuple(Call(item["call_id"], item["name"], item["arguments"]) for item in calls),
        stop=stop or ("tool_calls" if calls else "stop"),  # type: ignore[arg-type]
        input=usage["input_tokens"],
        cached=usage["input_tokens_details"]["cached_tokens"],
        written=usage["input_tokens_details"]["cache_write_tokens"],
        output=usage["output_tokens"],
        reasoned=usage["output_tokens_details"]["reasoning_tokens"],
    )


def _of_message(body: dict[str, Any]) -> Answer:
    usage, blocks = body["usage"], body["content"]
    stops = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls", "refusal": "filtered"}
    uses = [block for block in blocks if block["type"] == "tool_use"]
    return Answer(
        text="".join(block["text"] for block in blocks if block["type"] == "text"),
        reasoning="".join(block["thinking"] for block in blocks if block["type"] == "thinking"),
        calls=tuple(Call(use["id"], use["name"], orjson.dumps(use["input"]).decode()) for use in uses),
        stop=stops[body["stop_reason"]],  # type: ignore[arg-type]
        input=usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"],
        cached=usage["cache_read_input_tokens"],
        written=usage["cache_creation_input_tokens"],
        output=usage["output_tokens"],
        reasoned=usage["output_tokens_details"]["thinking_tokens"],
    )


@every_pair
@every_answer
def test_a_whole_answer_keeps_its_meaning_in_the_callers_official_form(
    caller: Dialect, provider: Dialect, answer: Answer
) -> None:
    given_answer = valid_reply(provider, whole(provider, answer))
    reply = valid_reply(caller, pair(caller, provider).reply(given_answer, REQUESTS[caller]))
    assert meaning(caller, reply) == answer
    assert reply["model"] == MODEL


@every_pair
@every_answer
@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_the_official_client_makes_of_the_stream_what_the_whole_answer_is(
    caller: Dialect, provider: Dialect, answer: Answer, at_once: int
) -> None:
    translator = pair(caller, provider)
    events = valid_events(caller, streamed(translator, REQUESTS[caller], stream(provider, answer), at_once=at_once))
    reply = translator.reply(whole(provider, answer), REQUESTS[caller])
    assert _comparable(accumulated(caller, events)) == _comparable(reply)


def _comparable(value: Any) -> Any:
    """Without what is not there, and without what only a stream or only the client adds."""
    if isinstance(value, dict):
        added = ("index", "parsed", "parsed_arguments", "parsed_output", "async_")
        found = {name: _comparable(item) for name, item in value.items() if item is not None and name not in added}
        if "created_at" in found:
            found["created_at"] = int(found["created_at"])
        return found
    return [_comparable(item) for item in value] if isinstance(value, list) else value


arguments = st.dictionaries(
    st.text(max_size=5),
    st.one_of(st.text(max_size=8), st.integers(-9, 9), st.none(), st.lists(st.booleans())),
    max_size=3,
).map(lambda value: orjson.dumps(value).decode())
calls = st.lists(arguments, max_size=4).map(
    lambda found: tuple(Call(f"call_{number}", f"tool_{number}", text) for number, text in enumerate(found))
)


@st.composite
def any_answer(draw: st.DrawFn) -> Answer:
    called = draw(calls)
    cached, written, fresh = (draw(st.integers(0, 1000)) for _ in range(3))
    reasoned, spoken = draw(st.integers(0, 1000)), draw(st.integers(0, 1000))
    return Answer(
        text=draw(st.text(max_size=20)),
        reasoning=draw(st.text(max_size=20)),
        calls=called,
        stop=draw(st.sampled_from(["length", "filtered", "tool_calls" if called else "stop"])),
        input=cached + written + fresh,
        cached=cached,
        written=written,
        output=reasoned + spoken,
        reasoned=reasoned,
    )


@given(st.sampled_from(PAIRS), any_answer(), st.integers(1, 50))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_answer_means_the_same_whole_and_streamed(chosen: Pair, answer: Answer, at_once: int) -> None:
    caller, provider = chosen
    translator = pair(caller, provider)
    reply = translator.reply(whole(provider, answer), REQUESTS[caller])
    assert meaning(caller, reply) == answer
    written = streamed(translator, REQUESTS[caller], stream(provider, answer), at_once=at_once)
    assert _comparable(accumulated(caller, valid_events(caller, written))) == _comparable(reply)


@every_pair
def test_an_id_takes_the_callers_form_and_stays_recognisable(caller: Dialect, provider: Dialect) -> None:
    translator = pair(caller, provider)
    prefix = {"openai_chat": "chatcmpl-", "openai_responses": "resp_", "anthropic_messages": "msg_"}[caller]
    reply = translator.reply(whole(provider, ANSWERS["text"]), REQUESTS[caller])
    assert reply["id"] == prefix + "1"
    assert reply == translator.reply(whole(provider, ANSWERS["text"]), REQUESTS[caller])


def test_the_time_is_the_providers_where_it_says_and_the_clocks_where_not() -> None:
    said = pair("openai_chat", "openai_responses").reply(whole("openai_responses", ANSWERS["text"]), {})
    unsaid = pair("openai_chat", "anthropic_messages").reply(whole("anthropic_messages", ANSWERS["text"]), {})
    assert (said["created"], unsaid["created"]) == (1_700_000_000, int(NOW))


@pytest.mark.parametrize("provider", ["openai_responses", "anthropic_messages"])
def test_a_chat_stream_states_usage_only_where_the_caller_asked(provider: Dialect) -> None:
    events = valid_events("openai_chat", streamed(pair("openai_chat", provider), {}, stream(provider, ANSWERS["text"])))
    assert all("usage" not in event for event in events)
    assert all(event["choices"] for event in events)


def test_a_response_repeats_what_was_asked_and_admits_what_was_not_done() -> None:
    request = {
        **REQUESTS["openai_responses"],
        "store": True,
        "temperature": 0.3,
        "tools": [],
        "text": {"verbosity": "low"},
    }
    reply = pair("openai_responses", "anthropic_messages").reply(whole("anthropic_messages", ANSWERS["text"]), request)
    valid_reply("openai_responses", reply)
    assert reply["instructions"] == "Be brief."
    assert reply["temperature"] == 0.3
    assert reply["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    assert reply["store"] is False
