"""Requests of OpenAI's chat completions as requests of OpenAI's responses.

Nothing is stored unless the caller asks for it: a chat completion is not, a response would be.
"""

from collections.abc import Mapping
from typing import Any

from deployments.provider_caller.translators.fields import Fields, caller_fields, refused
from deployments.provider_caller.translators.requests.chat_refusals import refuse_common, tool_choice_mode
from deployments.provider_caller.translators.requests.chat_to_items import input_items
from deployments.provider_caller.translators.requests.extended_chat import REASONING_SUMMARY

_SAME_TEXTS = ("user", "safety_identifier", "service_tier", "prompt_cache_key", "prompt_cache_retention")


def request(content: Mapping[str, Any], *, model: str) -> dict[str, Any]:
    """Raises ValidationError or UnprocessableError, naming the field."""
    fields = caller_fields(content)
    refuse_common(fields)
    if fields.content.get("stop"):
        raise refused("stop", "the routed model's API has no stop sequences", "leave it out")
    translated: dict[str, Any] = {
        "model": model,
        "input": input_items(fields),
        "store": fields.find_flag("store") is True,
    }
    for name in ("max_completion_tokens", "max_tokens"):
        limit = fields.find_integer(name)
        if limit is not None:
            translated["max_output_tokens"] = limit
            break
    for name in ("temperature", "top_p"):
        number = fields.find_number(name)
        if number is not None:
            translated[name] = number
    for name in _SAME_TEXTS:
        if text := fields.find_text(name):
            translated[name] = text
    if metadata := fields.find_json("metadata"):
        translated["metadata"] = metadata
    translated |= _reasoning(fields)
    translated |= _text(fields)
    translated |= _tools(fields)
    if (stream := fields.find_flag("stream")) is not None:
        translated["stream"] = stream
    return translated


def _reasoning(fields: Fields) -> dict[str, Any]:
    """Whoever asks for reasoning gets it encrypted too, so that it can be given back with the results of tools."""
    effort, summary = fields.find_text("reasoning_effort"), fields.find_text(REASONING_SUMMARY)
    reasoning = {"effort": effort, "summary": summary}
    asked = {name: value for name, value in reasoning.items() if value}
    if not asked:
        return {}
    wanted = {} if effort == "none" else {"include": ["reasoning.encrypted_content"]}
    return {"reasoning": asked, **wanted}


def _text(fields: Fields) -> dict[str, Any]:
    text: dict[str, Any] = {}
    response_format = fields.find_object("response_format")
    if response_format:
        kind = response_format.text("type")
        if kind == "json_schema":
            schema = response_format.object("json_schema")
            text["format"] = {"type": kind, "name": schema.text("name"), "schema": schema.json("schema")}
            if description := schema.find_text("description"):
                text["format"]["description"] = description
            if (strict := schema.find_flag("strict")) is not None:
                text["format"]["strict"] = strict
        elif kind in ("text", "json_object"):
            text["format"] = {"type": kind}
        else:
            raise response_format.wrong("type", "one of text, json_schema, json_object")
    if verbosity := fields.find_text("verbosity"):
        text["verbosity"] = verbosity
    return {"text": text} if text else {}


def _tools(fields: Fields) -> dict[str, Any]:
    tools = [_tool(tool) for tool in fields.objects("tools")]
    if not tools:
        return {}
    translated: dict[str, Any] = {"tools": tools}
    if fields.has("tool_choice"):
        translated["tool_choice"] = _choice(fields)
    if (parallel := fields.find_flag("parallel_tool_calls")) is not None:
        translated["parallel_tool_calls"] = parallel
    return translated


def _choice(fields: Fields) -> str | dict[str, Any]:
    mode = tool_choice_mode(fields)
    match mode:
        case "function" | "custom":
            return _named(fields.object("tool_choice"), mode)
        case "allowed_tools":
            allowed = fields.object("tool_choice").object("allowed_tools")
            tools = [_named(tool, tool.text("type")) for tool in allowed.objects("tools")]
            return {"type": "allowed_tools", "mode": allowed.text("mode"), "tools": tools}
    return mode


def _named(tool: Fields, kind: str) -> dict[str, Any]:
    """A tool by its name; chat nests the name, responses do not."""
    return {"type": kind, "name": tool.object(kind).text("name")}


def _tool(tool: Fields) -> dict[str, Any]:
    kind = tool.text("type")
    if kind == "custom":
        return _custom(tool.object("custom"))
    if kind != "function":
        raise tool.wrong("type", "one of function, custom")
    function = tool.object("function")
    translated: dict[str, Any] = {
        "type": "function",
        "name": function.text("name"),
        "parameters": function.find_json("parameters") or {"type": "object", "properties": {}},
        "strict": function.find_flag("strict") is True,
    }
    if description := function.find_text("description"):
        translated["description"] = description
    return translated


def _custom(custom: Fields) -> dict[str, Any]:
    translated: dict[str, Any] = {"type": "custom", "name": custom.text("name")}
    if description := custom.find_text("description"):
        translated["description"] = description
    if wanted := custom.find_object("format"):
        kind = wanted.text("type")
        grammar = wanted.object("grammar") if kind == "grammar" else None
        rules = {"definition": grammar.text("definition"), "syntax": grammar.text("syntax")} if grammar else {}
        translated["format"] = {"type": kind, **rules}
    return translated
