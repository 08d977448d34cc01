"""What each provider takes, and what is changed for it."""

from typing import Any

import pytest

from deployments.protocols import Usage
from deployments.provider_caller.providers.google import read_google_usage
from deployments.provider_caller.providers.perplexity import read_perplexity_usage
from deployments.provider_caller.providers.registry import load_registry

PROVIDERS = load_registry()
TOOLS = [{"type": "function", "function": {"name": "f"}}]


def prepared(provider: str, model: str, dialect: Any = None, **fields: Any) -> dict[str, Any]:
    one = PROVIDERS[provider]
    return dict(one.prepare(fields, dialect or one.dialects[0], model))


@pytest.mark.parametrize("provider", sorted(set(PROVIDERS) - {"perplexity"}))
def test_a_plain_request_is_not_touched(provider: str) -> None:
    one = PROVIDERS[provider]
    content = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    for dialect in one.dialects:
        assert one.prepare(content, dialect, "gpt-4o") is content


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_a_provider_is_called_in_the_callers_dialect_where_it_speaks_it(provider: str) -> None:
    one = PROVIDERS[provider]
    for caller in ("openai_chat", "openai_responses", "anthropic_messages"):
        expected = caller if caller in one.dialects else one.dialects[0]
        assert one.dialect(caller, {}, "m") == expected
        assert one.path(expected).startswith("/")


def test_anthropics_key_goes_into_its_own_header() -> None:
    headers = PROVIDERS["anthropic"].headers("sk-1", "anthropic_messages")
    assert headers == {"x-api-key": "sk-1", "anthropic-version": "2023-06-01"}


def test_openai_is_told_the_limit_by_the_name_that_all_its_models_take() -> None:
    assert prepared("openai", "gpt-4o", max_tokens=5) == {"max_completion_tokens": 5}
    assert prepared("openai", "gpt-4o", max_tokens=5, max_completion_tokens=6) == {"max_completion_tokens": 6}
    assert prepared("openai", "gpt-6-luna", "openai_responses", max_output_tokens=5) == {"max_output_tokens": 5}


@pytest.mark.parametrize(
    ("provider", "model", "effort", "kept"),
    [
        ("openai", "gpt-4o", None, True),
        ("openai", "gpt-5.2", None, True),
        ("openai", "gpt-6-luna", "none", True),
        ("openai", "gpt-6-luna", None, False),
        ("openai", "gpt-6.1-sol", "low", False),
        ("openai", "o4-mini", None, False),
        ("anthropic", "claude-haiku-4-5", None, True),
        ("anthropic", "claude-haiku-5-5", None, False),
        ("anthropic", "claude-opus-4-8", None, False),
    ],
)
def test_sampling_settings_are_left_out_where_a_model_refuses_them(
    provider: str, model: str, effort: str | None, kept: bool
) -> None:
    fields = {"temperature": 0.5} | ({"reasoning_effort": effort} if effort else {})
    assert ("temperature" in prepared(provider, model, **fields)) is kept


@pytest.mark.parametrize(
    ("model", "fields", "dialect"),
    [
        ("gpt-6-luna", {"tools": TOOLS}, "openai_responses"),
        ("gpt-6-luna", {"tools": TOOLS, "reasoning_effort": "none"}, "openai_chat"),
        ("gpt-6-luna", {}, "openai_chat"),
        ("gpt-4o", {"tools": TOOLS}, "openai_chat"),
    ],
)
def test_tools_of_a_model_that_reasons_first_go_through_openais_responses(
    model: str, fields: dict[str, Any], dialect: str
) -> None:
    assert PROVIDERS["openai"].dialect("openai_chat", fields, model) == dialect


def test_groq_gets_no_field_that_it_refuses() -> None:
    messages = [{"role": "user", "name": "ann", "content": "Hi"}, "odd"]
    found = prepared("groq", "m", messages=messages, logprobs=True, top_logprobs=2, logit_bias={}, seed=1)
    assert found == {"messages": [{"role": "user", "content": "Hi"}, "odd"], "seed": 1}


@pytest.mark.parametrize("provider", ["groq", "google"])
def test_what_means_something_to_openai_only_goes_to_openai_only(provider: str) -> None:
    """A client of OpenAI's may be routed elsewhere."""
    only = {"prompt_cache_key": "k", "safety_identifier": "s", "verbosity": "low", "web_search_options": {}}
    assert prepared(provider, "m", top_p=1, **only) == {"top_p": 1}
    assert prepared("openai", "gpt-4o", top_p=1, **only) == {"top_p": 1, **only}


def test_groqs_responses_have_a_few_fields_less_too() -> None:
    content = {"input": "Hi", "include": [], "prompt_cache_key": "k"}
    assert PROVIDERS["groq"].prepare(content, "openai_responses", "m") == {"input": "Hi"}


def test_google_gets_no_field_that_it_refuses() -> None:
    assert prepared("google", "m", seed=1, store=True, temperature=1) == {"temperature": 1}


@pytest.mark.parametrize(
    ("provider", "dialect", "fields", "field"),
    [
        ("openai", "openai_chat", {"service_tier": "priority"}, "service_tier"),
        ("openai", "openai_responses", {"service_tier": "flex"}, "service_tier"),
        ("openai", "openai_responses", {"tools": [{"type": "web_search_preview"}]}, "tools"),
        ("openai", "openai_responses", {"tools": [{"type": "function"}, {"type": "code_interpreter"}]}, "tools"),
        ("openai", "openai_chat", {"web_search_options": {}}, "web_search_options"),
        ("openai", "openai_chat", {"audio": {"voice": "ash"}}, "audio"),
        ("openai", "openai_chat", {"service_tier": ["odd"], "tools": "odd"}, "service_tier"),
        ("openai", "openai_chat", {"service_tier": "auto", "tools": [{"type": "function"}, "odd", {}]}, None),
        ("openai", "anthropic_messages", {"service_tier": "standard_only"}, None),
        ("groq", "openai_chat", {"service_tier": "flex"}, None),
        ("groq", "openai_chat", {"service_tier": "performance"}, "service_tier"),
        ("groq", "openai_chat", {"tools": [{"type": "browser_search"}]}, "tools"),
        ("anthropic", "anthropic_messages", {"speed": "fast"}, "speed"),
        ("anthropic", "anthropic_messages", {"inference_geo": "us"}, "inference_geo"),
        ("anthropic", "anthropic_messages", {"tools": [{"type": "web_search_20260318"}]}, "tools"),
        ("anthropic", "anthropic_messages", {"tools": [{"type": "bash_20250124"}, {"name": "f"}]}, None),
        ("anthropic", "openai_chat", {"service_tier": "priority"}, None),
        ("perplexity", "openai_responses", {"tools": [{"type": "web_search"}]}, None),
    ],
)
def test_what_costs_more_than_its_tokens_is_known_by_its_field(
    provider: str, dialect: Any, fields: dict[str, Any], field: str | None
) -> None:
    assert PROVIDERS[provider].surcharge(fields, dialect) == field


def test_googles_thinking_counts_as_output() -> None:
    assert read_google_usage({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115}) == Usage(10, 105)
    assert read_google_usage({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}) == Usage(10, 5)
    assert read_google_usage(None) is None


def test_perplexity_gets_only_the_fields_that_it_knows_and_a_web_search() -> None:
    form = {"type": "json_schema", "name": "n", "schema": {}, "strict": True}
    reasoning = {"effort": "low", "summary": "auto"}
    found = prepared("perplexity", "sonar", input="Hi", text={"format": form}, reasoning=reasoning, user="u", stop="x")
    assert found == {
        "input": "Hi",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}},
        "reasoning": {"effort": "low"},
        "tools": [{"type": "web_search"}],
    }
    own = [{"type": "web_search", "filters": {}}]
    assert prepared("perplexity", "sonar", input="Hi", tools=own)["tools"] == own
    assert prepared("perplexity", "sonar-pro", input="Hi") == {"input": "Hi", "preset": "low"}
    assert PROVIDERS["perplexity"].wire_model("sonar-pro") == "perplexity/sonar"
    assert PROVIDERS["perplexity"].wire_model("openai/gpt-6-luna") == "openai/gpt-6-luna"


def test_perplexitys_own_reckoning_is_the_cost() -> None:
    stated = {
        "input_tokens": 10,
        "output_tokens": 2,
        "input_tokens_details": {"cache_read_input_tokens": 4, "cache_creation_input_tokens": 1},
        "cost": {"currency": "USD", "total_cost": 0.0050075},
    }
    assert read_perplexity_usage(stated) == Usage(10, 2, 4, 1, cost=5_007_500)
    assert read_perplexity_usage({"input_tokens": 10, "output_tokens": 2}) == Usage(10, 2)


def mended(kind: str, **content: Any) -> list[dict[str, Any]]:
    return PROVIDERS["perplexity"].mend_event({"type": f"response.{kind}", **content}, "openai_responses")


def test_what_is_perplexitys_own_becomes_what_the_dialect_has() -> None:
    assert mended("reasoning.search_queries") == []
    assert mended("output_item.done", item={"type": "sandbox_results"}) == []
    assert mended("cancelled", response={})[0]["type"] == "response.failed"
    found = {"type": "search_results", "queries": ["q"], "results": [{"url": "https://e.org", "title": "E"}]}
    (event,) = mended("output_item.done", item=found)
    assert event["item"]["type"] == "web_search_call"
    assert event["item"]["action"]["sources"] == [{"type": "url", "url": "https://e.org"}]


def test_perplexitys_events_get_the_ones_that_the_dialect_has_around_them() -> None:
    kinds = [event["type"] for event in mended("output_item.added", item={"type": "message", "id": "m", "content": []})]
    assert kinds == ["response.output_item.added", "response.content_part.added"]
    _, done = mended("output_text.done", item_id="m", text="Hi")
    assert (done["type"], done["part"]["text"]) == ("response.content_part.done", "Hi")
    call = {"type": "function_call", "id": "f", "call_id": "c", "name": "n", "arguments": "{}"}
    added, delta, finished = mended("output_item.added", item=call)
    assert (added["item"]["arguments"], delta["delta"], finished["arguments"]) == ("", "{}", "{}")
