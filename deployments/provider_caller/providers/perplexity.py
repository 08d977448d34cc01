"""Perplexity's Agent API: OpenAI's responses dialect with a web search in it. Its chat completions ended on 2026-09-27.

Sources: https://docs.perplexity.ai/docs/agent-api (openai-compatibility, migrate-from-sonar) and the types of its SDK,
`perplexityai` 0.46. It answers an unknown field with 400, names a few fields differently, states what each call costs,
searches included, and puts items and events of its own into answers, which other clients of the dialect do not know.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from deployments.protocols import Dialect, Usage
from deployments.provider_caller.providers.base import Provider
from deployments.provider_caller.usage import UsageReader, count, read_responses_usage

_FIELDS = frozenset(
    [
        "background",
        "input",
        "instructions",
        "language_preference",
        "max_output_tokens",
        "max_steps",
        "max_tool_calls",
        "metadata",
        "model",
        "models",
        "parallel_tool_calls",
        "preset",
        "previous_response_id",
        "response_format",
        "store",
        "stream",
        "temperature",
        "tool_choice",
        "tools",
        "top_p",
        "truncation",
    ]
)
_PRESETS = {"sonar-pro": "low"}
"""What became of the old model names: the one model with a preset of search steps and instructions."""
_OWN_EVENTS = ("response.reasoning.", "response.skill.", "response.unknown")
_PART_EVENTS = ("response.content_part.",)
"""It does not send them; should it begin to, the ones that are made here still stand alone."""
_SEARCH_RESULTS = "search_results"
_OWN_ITEMS = frozenset(
    ["fetch_url_results", "people_search_results", "finance_results", "sandbox_results", "skill_load", "unknown"]
)


class Perplexity(Provider):
    """Models that search the web before they answer."""

    id = "perplexity"
    name = "Perplexity"
    base_url = "https://api.perplexity.ai/v1"
    dialects = ("openai_responses",)
    # Its list of models is open to everybody, so a key is tried on an answer that does not exist: 404 where it is good.
    check_path = "/responses/resp_0"
    check_statuses = frozenset({200, 400, 404})
    mends = True

    def wire_model(self, model: str) -> str:
        """Its own model goes under one name; models of others carry theirs already."""
        return model if "/" in model else "perplexity/sonar"

    def prepare(self, content: Mapping[str, Any], dialect: Dialect, model: str) -> Mapping[str, Any]:
        """Only the fields it knows, and a web search, which it does not do unasked."""
        prepared = {name: value for name, value in content.items() if name in _FIELDS and value is not None}
        text = content.get("text")
        form = text.get("format") if isinstance(text, dict) else None
        if isinstance(form, dict) and form.get("type") == "json_schema":
            schema = {name: value for name, value in form.items() if name != "type"}
            prepared["response_format"] = {"type": "json_schema", "json_schema": schema}
        reasoning = content.get("reasoning")
        if isinstance(reasoning, dict) and reasoning.get("effort"):
            prepared["reasoning"] = {"effort": reasoning["effort"]}
        if model in _PRESETS:
            prepared.setdefault("preset", _PRESETS[model])
        tools = content.get("tools") or []
        if "preset" not in prepared and not any(_type(tool) == "web_search" for tool in tools):
            prepared["tools"] = [*tools, {"type": "web_search"}]
        return prepared

    def usage_reader(self, dialect: Dialect) -> UsageReader:
        """Reads the cost, too."""
        return read_perplexity_usage

    def mend_answer(self, content: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
        """Its own items become those that the dialect has, missing fields are filled."""
        _complete(content)
        return content

    def mend_event(self, content: dict[str, Any], dialect: Dialect) -> list[dict[str, Any]]:
        """The same; events of its own are left out, and parts and arguments get the events that it leaves out."""
        kind, item = str(content.get("type")), content.get("item")
        if kind.startswith((*_OWN_EVENTS, *_PART_EVENTS)) or _type(item) in _OWN_ITEMS:
            return []
        if _type(item) == _SEARCH_RESULTS:
            return [{**content, "item": _search_call(content["item"])}]
        if isinstance(content.get("response"), dict):
            _complete(content["response"])
        if kind == "response.cancelled":
            return [{**content, "type": "response.failed"}]
        if kind == "response.output_item.added" and _type(item) == "function_call" and content["item"].get("arguments"):
            return _call_events(content)
        if kind == "response.output_item.added" and _type(item) == "message":
            return [content, _part_event("response.content_part.added", content, content["item"].get("id"), "")]
        if kind == "response.output_text.delta":
            return [{"logprobs": [], **content}]
        if kind == "response.output_text.done":
            done = _part_event("response.content_part.done", content, content.get("item_id"), content.get("text"))
            return [{"logprobs": [], **content}, done]
        return [content]


def read_perplexity_usage(stated: Any) -> Usage | None:
    """Token counts, and `cost`: what Perplexity itself reckons for tokens and searches, in nano-dollars."""
    usage = read_responses_usage(stated)
    if usage is None:
        return None
    details, cost = stated.get("input_tokens_details"), stated.get("cost")
    if isinstance(details, dict) and "cache_read_input_tokens" in details:
        cached, written = count(details["cache_read_input_tokens"]), count(details.get("cache_creation_input_tokens"))
        usage = replace(usage, cached_tokens=cached, cache_write_tokens=written)
    total = cost.get("total_cost") if isinstance(cost, dict) and cost.get("currency") == "USD" else None
    if isinstance(total, int | float) and total >= 0:
        usage = replace(usage, cost=round(total * 1_000_000_000))
    return usage


def _complete(answer: dict[str, Any]) -> None:
    """What OpenAI's clients expect in every answer."""
    output = [item for item in answer.get("output") or [] if _type(item) not in _OWN_ITEMS]
    answer["output"] = [_search_call(item) if _type(item) == _SEARCH_RESULTS else item for item in output]
    for field, value in (("parallel_tool_calls", True), ("tool_choice", "auto"), ("tools", [])):
        if answer.get(field) is None:
            answer[field] = value
    usage = answer.get("usage")
    if isinstance(usage, dict):
        read = read_perplexity_usage(usage)
        cached, written = (read.cached_tokens, read.cache_write_tokens) if read else (0, 0)
        usage["input_tokens_details"] = {"cached_tokens": cached, "cache_write_tokens": written}
        usage.setdefault("output_tokens_details", {"reasoning_tokens": 0})


def _part_event(kind: str, event: Mapping[str, Any], item_id: Any, text: Any) -> dict[str, Any]:
    """The only text part of a message begins, or is done."""
    part: dict[str, Any] = {"type": "output_text", "text": text or "", "annotations": []}
    index = event.get("output_index", 0)
    return {"type": kind, "item_id": item_id, "output_index": index, "content_index": 0, "part": part}


def _call_events(added: dict[str, Any]) -> list[dict[str, Any]]:
    """A function call, whose arguments come whole with its first event."""
    item, arguments = added["item"], added["item"].get("arguments") or ""
    place = {"item_id": item.get("id"), "output_index": added.get("output_index", 0)}
    kind = "response.function_call_arguments"
    return [
        {**added, "item": {**item, "arguments": "", "status": "in_progress"}},
        {"type": f"{kind}.delta", **place, "delta": arguments},
        {"type": f"{kind}.done", **place, "arguments": arguments, "name": item.get("name")},
    ]


def _search_call(item: dict[str, Any]) -> dict[str, Any]:
    """A search with what it found, as the dialect writes it."""
    queries = [query for query in item.get("queries") or [] if isinstance(query, str)]
    found = [result["url"] for result in item.get("results") or [] if isinstance(result, dict) and result.get("url")]
    sources = [{"type": "url", "url": url} for url in found]
    action = {"type": "search", "query": queries[0] if queries else "", "queries": queries, "sources": sources}
    return {"id": str(item.get("id") or "ws_0"), "type": "web_search_call", "status": "completed", "action": action}


def _type(item: Any) -> Any:
    return item.get("type") if isinstance(item, dict) else None


PROVIDER = Perplexity()
