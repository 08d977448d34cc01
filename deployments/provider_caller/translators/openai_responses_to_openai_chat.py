"""Requests of OpenAI's responses as requests of OpenAI's chat completions."""

from collections.abc import Mapping
from typing import Any

from deployments.provider_caller.translators.fields import Fields, caller_fields, refused
from deployments.provider_caller.translators.requests.extended_chat import REASONING_SUMMARY, plain_chat
from deployments.provider_caller.translators.requests.items_to_chat import conversation
from deployments.provider_caller.translators.requests.renamed import renamed

_KEEP_NOTHING = "this gateway keeps no conversations"
_SAME_TEXTS = ("user", "safety_identifier", "service_tier", "prompt_cache_key", "prompt_cache_retention")
_SAME_NUMBERS = ("temperature", "top_p")
_CHOICES = ("none", "auto", "required")


def request(content: Mapping[str, Any], *, model: str) -> dict[str, Any]:
    """Raises ValidationError or UnprocessableError, naming the field."""
    with renamed({"messages": "input"}):
        return plain_chat(extended_request(content, model=model))


def extended_request(content: Mapping[str, Any], *, model: str) -> dict[str, Any]:
    """The request for another translator (see extended_chat)."""
    fields = caller_fields(content)
    _refuse(fields)
    translated: dict[str, Any] = {"model": model, "messages": conversation(fields)}
    limit = fields.find_integer("max_output_tokens")
    if limit is not None:
        translated["max_completion_tokens"] = limit
    for name in _SAME_NUMBERS:
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


def _refuse(fields: Fields) -> None:
    """What needs a memory of earlier calls, or a server that chat completions do not have."""
    for name, reason, remedy in (
        ("previous_response_id", _KEEP_NOTHING, "send the whole conversation as `input`"),
        ("conversation", _KEEP_NOTHING, "send the whole conversation as `input`"),
        ("prompt", "the routed model's provider has no stored prompts", "send `instructions` and `input`"),
        ("context_management", "the routed model's provider does not shorten conversations", "leave it out"),
        ("moderation", "the routed model's provider does not moderate in the answer", "leave it out"),
    ):
        if fields.content.get(name):
            raise refused(name, reason, remedy)
    if fields.find_flag("background"):
        raise refused("background", "the routed model's provider answers at once or not at all", "leave it out")
    if fields.find_integer("top_logprobs") or "message.output_text.logprobs" in fields.texts("include"):
        raise refused("top_logprobs", "the routed model does not state probabilities here", "leave it out")


def _reasoning(fields: Fields) -> dict[str, Any]:
    reasoning = fields.find_object("reasoning")
    if reasoning is None:
        return {}
    effort = reasoning.find_text("effort")
    summary = reasoning.find_text("summary") or reasoning.find_text("generate_summary")
    stated = {"reasoning_effort": effort, REASONING_SUMMARY: summary}
    return {name: value for name, value in stated.items() if value}


def _text(fields: Fields) -> dict[str, Any]:
    text = fields.find_object("text")
    if text is None:
        return {}
    translated: dict[str, Any] = {}
    if verbosity := text.find_text("verbosity"):
        translated["verbosity"] = verbosity
    wanted = text.find_object("format")
    kind = wanted.text("type") if wanted else "text"
    if wanted and kind == "json_schema":
        schema: dict[str, Any] = {"name": wanted.text("name"), "schema": wanted.json("schema")}
        if description := wanted.find_text("description"):
            schema["description"] = description
        if (strict := wanted.find_flag("strict")) is not None:
            schema["strict"] = strict
        translated["response_format"] = {"type": kind, "json_schema": schema}
    elif kind == "json_object":
        translated["response_format"] = {"type": kind}
    elif wanted and kind != "text":
        raise wanted.wrong("type", "one of text, json_schema, json_object")
    return translated


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
    choice = fields.content["tool_choice"]
    if isinstance(choice, str):
        if choice not in _CHOICES:
            raise fields.wrong("tool_choice", f"one of {', '.join(_CHOICES)}, or an object")
        return choice
    chosen = fields.object("tool_choice")
    kind = chosen.text("type")
    if kind != "allowed_tools":
        return _named(chosen)
    tools = [_named(tool) for tool in chosen.objects("tools")]
    return {"type": kind, kind: {"mode": chosen.text("mode"), "tools": tools}}


def _named(tool: Fields) -> dict[str, Any]:
    """A tool by its name; chat nests the name, responses do not."""
    kind = _known_kind(tool)
    return {"type": kind, kind: {"name": tool.text("name")}}


def _known_kind(tool: Fields) -> str:
    kind = tool.text("type")
    if kind not in ("function", "custom"):
        reason = f"the routed model's provider has no hosted tool {kind[:40]}"
        raise refused(tool.at("type"), reason, "use function tools, or name a model of OpenAI's")
    return kind


def _tool(tool: Fields) -> dict[str, Any]:
    kind = _known_kind(tool)
    translated: dict[str, Any] = {"name": tool.text("name")}
    if description := tool.find_text("description"):
        translated["description"] = description
    if kind == "custom":
        if wanted := tool.find_object("format"):
            translated["format"] = _custom_format(wanted)
        return {"type": kind, kind: translated}
    if (parameters := tool.find_json("parameters")) is not None:
        translated["parameters"] = parameters
    if (strict := tool.find_flag("strict")) is not None:
        translated["strict"] = strict
    return {"type": kind, kind: translated}


def _custom_format(wanted: Fields) -> dict[str, Any]:
    kind = wanted.text("type")
    if kind != "grammar":
        return {"type": kind}
    return {"type": kind, kind: {"definition": wanted.text("definition"), "syntax": wanted.text("syntax")}}
