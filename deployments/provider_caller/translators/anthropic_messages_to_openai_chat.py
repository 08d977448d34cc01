"""Requests of Anthropic's messages as requests of OpenAI's chat completions."""

from collections.abc import Mapping
from typing import Any

from deployments.provider_caller.translators.fields import Fields, caller_fields, refused
from deployments.provider_caller.translators.requests.extended_chat import REASONING_SUMMARY, plain_chat
from deployments.provider_caller.translators.requests.strict_schemas import is_strict
from deployments.provider_caller.translators.requests.turns_to_chat import conversation

_TIERS = {"auto": "auto", "standard_only": "default"}
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_MEDIUM_BUDGET, _HIGH_BUDGET = 4096, 16384
"""From how many tokens on a thinking budget is a medium or a high effort."""


def request(content: Mapping[str, Any], *, model: str) -> dict[str, Any]:
    """Raises ValidationError or UnprocessableError, naming the field."""
    return plain_chat(extended_request(content, model=model))


def extended_request(content: Mapping[str, Any], *, model: str) -> dict[str, Any]:
    """The request for another translator (see extended_chat)."""
    fields = caller_fields(content)
    _refuse(fields)
    translated: dict[str, Any] = {"model": model, "messages": conversation(fields)}
    translated["max_completion_tokens"] = _limit(fields)
    for name in ("temperature", "top_p"):
        value = fields.find_number(name)
        if value is not None:
            translated[name] = value
    if stop := fields.texts("stop_sequences"):
        translated["stop"] = stop
    translated |= _reasoning(fields)
    translated |= _format(fields)
    translated |= _tools(fields)
    metadata = fields.find_object("metadata")
    user = metadata.find_text("user_id") if metadata else None
    if user:
        translated["user"] = user
    if tier := _TIERS.get(fields.find_text("service_tier") or ""):
        translated["service_tier"] = tier
    if (stream := fields.find_flag("stream")) is not None:
        translated["stream"] = stream
    return translated


def _refuse(fields: Fields) -> None:
    for name, reason in (
        ("container", "the routed model's provider has no containers"),
        ("mcp_servers", "the routed model's provider does not call MCP servers here"),
        ("inference_geo", "the routed model's provider does not promise where it computes"),
    ):
        if fields.content.get(name):
            raise refused(name, reason, "leave it out, or name a model of Anthropic's")


def _limit(fields: Fields) -> int:
    limit = fields.integer("max_tokens")
    if limit == 0:
        raise refused(
            "max_tokens", "0 warms Anthropic's cache, and other models have none to warm", "ask for 1 or more"
        )
    if limit < 0:
        raise fields.wrong("max_tokens", "1 or more")
    return limit


def _reasoning(fields: Fields) -> dict[str, Any]:
    """Disabled thinking is what these callers send for a plain answer; models without reasoning refuse the word for it,
    so nothing is said."""
    thinking, output = fields.find_object("thinking"), fields.find_object("output_config")
    kind = thinking.text("type") if thinking else None
    effort = output.find_text("effort") if output else None
    if effort is not None and output is not None and effort not in _EFFORTS:
        raise output.wrong("effort", f"one of {', '.join(_EFFORTS)}")
    if thinking is not None and kind == "enabled" and effort is None:
        budget = thinking.integer("budget_tokens")
        effort = "high" if budget >= _HIGH_BUDGET else "medium" if budget >= _MEDIUM_BUDGET else "low"
    shown = thinking is not None and thinking.find_text("display") == "summarized"
    translated: dict[str, Any] = {"reasoning_effort": effort} if effort else {}
    return translated | ({REASONING_SUMMARY: "auto"} if shown else {})


def _format(fields: Fields) -> dict[str, Any]:
    """The JSON schema of the answer; its older place was `output_format`."""
    output = fields.find_object("output_config")
    wanted = (output.find_object("format") if output else None) or fields.find_object("output_format")
    if wanted is None:
        return {}
    if wanted.text("type") != "json_schema":
        raise wanted.wrong("type", "`json_schema`")
    schema = wanted.json("schema")
    named = {"name": "answer", "schema": schema, "strict": is_strict(schema)}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _tools(fields: Fields) -> dict[str, Any]:
    tools = [_tool(tool) for tool in fields.objects("tools")]
    if not tools:
        return {}
    translated: dict[str, Any] = {"tools": tools}
    choice = fields.find_object("tool_choice")
    if choice is None:
        return translated
    match choice.text("type"):
        case "auto" | "none" as mode:
            translated["tool_choice"] = mode
        case "any":
            translated["tool_choice"] = "required"
        case "tool":
            translated["tool_choice"] = {"type": "function", "function": {"name": choice.text("name")}}
        case _:
            raise choice.wrong("type", "one of auto, any, tool, none")
    if choice.find_flag("disable_parallel_tool_use"):
        translated["parallel_tool_calls"] = False
    return translated


def _tool(tool: Fields) -> dict[str, Any]:
    kind = tool.find_text("type") or "custom"
    if kind != "custom":
        raise refused(tool.at("type"), f"only Anthropic's models have the tool {kind[:40]}", "define it with a schema")
    schema = tool.json("input_schema")
    function: dict[str, Any] = {"name": tool.text("name"), "parameters": schema}
    if description := tool.find_text("description"):
        function["description"] = description
    if tool.find_flag("strict"):
        function["strict"] = is_strict(schema)
    return {"type": "function", "function": function}
