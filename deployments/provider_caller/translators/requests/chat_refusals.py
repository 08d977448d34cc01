"""What chat completions can ask for and no other dialect can do."""

from deployments.provider_caller.translators.fields import Fields, refused

_CHOICES = ("none", "auto", "required")
_NAMED_CHOICES = ("function", "custom", "allowed_tools")


def refuse_common(fields: Fields) -> None:
    """Raises UnprocessableError, naming the field."""
    if fields.find_integer("n") not in (None, 1):
        raise refused("n", "the routed model gives one answer to a request", "leave it out")
    if fields.find_flag("logprobs") or fields.has("top_logprobs"):
        raise refused("logprobs", "the routed model does not state probabilities here", "leave it out")
    if "audio" in fields.texts("modalities") or fields.has("audio"):
        raise refused("modalities", "the routed model answers in text", "leave `audio` out")
    for name in ("functions", "function_call"):
        if fields.has(name):
            raise refused(name, "the routed model takes functions as tools only", "use `tools` and `tool_choice`")
    if fields.has("web_search_options"):
        raise refused("web_search_options", "the routed model cannot search the web here", "leave it out")
    if fields.has("moderation"):
        raise refused("moderation", "the routed model's provider does not moderate in the answer", "leave it out")


def tool_choice_mode(fields: Fields) -> str:
    """`auto` where nothing is chosen; one of none, auto, required, function, custom, allowed_tools."""
    choice = fields.content.get("tool_choice")
    if choice is None:
        return "auto"
    if isinstance(choice, str):
        if choice in _CHOICES:
            return choice
        raise fields.wrong("tool_choice", f"one of {', '.join(_CHOICES)}, or an object")
    kind = fields.object("tool_choice").text("type")
    if kind not in _NAMED_CHOICES:
        raise fields.wrong("tool_choice.type", f"one of {', '.join(_NAMED_CHOICES)}")
    return kind
