"""Requests of OpenAI's chat completions as requests of Anthropic's messages.

Sampling settings are left out: the API of 2026-10-21 has none, and answers them with status 400
(https://platform.claude.com/docs/en/api/versioning).
"""

from collections.abc import Mapping
from typing import Any

from deployments.provider_caller.translators.fields import Fields, caller_fields, refused
from deployments.provider_caller.translators.requests.chat_refusals import refuse_common, tool_choice_mode
from deployments.provider_caller.translators.requests.chat_to_turns import turns
from deployments.provider_caller.translators.requests.claude_models import EFFORTS, thinking
from deployments.provider_caller.translators.requests.extended_chat import REASONING_SUMMARY

DEFAULT_MAX_TOKENS = 4096
"""Anthropic wants a limit with every request; OpenAI's callers may leave it out."""

_TIERS = {"auto": "auto", "default": "standard_only"}


def request(content: Mapping[str, Any], *, model: str, default_max_tokens: int = DEFAULT_MAX_TOKENS) -> dict[str, Any]:
    """Raises ValidationError or UnprocessableError, naming the field."""
    fields = caller_fields(content)
    refuse_common(fields)
    limit = _limit(fields, default_max_tokens)
    system, messages = turns(fields)
    translated: dict[str, Any] = {"model": model, "max_tokens": limit, "messages": messages}
    if system:
        translated["system"] = system
    translated |= _tools(fields)
    translated |= _reasoning(fields, model, limit)
    if schema := _schema(fields):
        translated.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": schema}
    if stop := _stop(fields):
        translated["stop_sequences"] = stop
    user = fields.find_text("safety_identifier") or fields.find_text("user")
    if user:
        translated["metadata"] = {"user_id": user}
    if tier := _TIERS.get(fields.find_text("service_tier") or ""):
        translated["service_tier"] = tier
    if (stream := fields.find_flag("stream")) is not None:
        translated["stream"] = stream
    return translated


def _limit(fields: Fields, default: int) -> int:
    for name in ("max_completion_tokens", "max_tokens"):
        limit = fields.find_integer(name)
        if limit is not None:
            if limit < 1:
                raise fields.wrong(name, "1 or more")
            return limit
    return default


def _stop(fields: Fields) -> list[str]:
    stop = fields.content.get("stop")
    return [stop] if isinstance(stop, str) else fields.texts("stop")


def _reasoning(fields: Fields, model: str, limit: int) -> dict[str, Any]:
    effort = fields.find_text("reasoning_effort")
    if effort is None:
        return {}
    if effort not in EFFORTS:
        raise fields.wrong("reasoning_effort", f"one of {', '.join(sorted(EFFORTS))}")
    forced = tool_choice_mode(fields) not in ("auto", "none")
    return thinking(model, effort, limit, forced=forced, shown=fields.has(REASONING_SUMMARY))


def _schema(fields: Fields) -> dict[str, Any] | None:
    response_format = fields.find_object("response_format")
    if response_format is None:
        return None
    match response_format.text("type"):
        case "text":
            return None
        case "json_schema":
            return response_format.object("json_schema").json("schema")
        case "json_object":
            raise refused(
                "response_format", "Anthropic's models answer in JSON by a schema only", "give one with `json_schema`"
            )
    raise response_format.wrong("type", "one of text, json_schema, json_object")


def _tools(fields: Fields) -> dict[str, Any]:
    """Tools, and how they are to be used."""
    tools = [_tool(tool) for tool in fields.objects("tools")]
    if not tools:
        return {}
    mode = tool_choice_mode(fields)
    choice: dict[str, Any] = {"type": {"required": "any"}.get(mode, mode)}
    if mode == "function":
        name = fields.object("tool_choice").object("function").text("name")
        choice = {"type": "tool", "name": name}
    elif mode == "allowed_tools":
        allowed = fields.object("tool_choice").object("allowed_tools")
        names = {_allowed_name(tool) for tool in allowed.objects("tools")}
        tools = [tool for tool in tools if tool["name"] in names]
        if not tools:
            raise fields.wrong("tool_choice.allowed_tools.tools", "a list that names some of `tools`")
        choice = {"type": "any" if allowed.text("mode") == "required" else "auto"}
    elif mode == "custom":
        raise refused("tool_choice", "Anthropic's models have no custom tools", "use function tools")
    if fields.find_flag("parallel_tool_calls") is False and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    return {"tools": tools} if choice == {"type": "auto"} else {"tools": tools, "tool_choice": choice}


def _allowed_name(tool: Fields) -> str:
    return tool.object("function").text("name")


def _tool(tool: Fields) -> dict[str, Any]:
    if tool.text("type") != "function":
        raise refused(
            tool.at("type"), f"Anthropic's models take no tool of type {tool.text('type')[:40]}", "use function tools"
        )
    function = tool.object("function")
    translated: dict[str, Any] = {
        "name": function.text("name"),
        "input_schema": {"type": "object", "properties": {}, **(function.find_json("parameters") or {})},
    }
    if description := function.find_text("description"):
        translated["description"] = description
    if (strict := function.find_flag("strict")) is not None:
        translated["strict"] = strict
    if cache_control := tool.find_json("cache_control"):
        translated["cache_control"] = cache_control
    return translated
