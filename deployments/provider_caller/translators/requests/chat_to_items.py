"""The conversation of a chat completion as the input items of OpenAI's responses."""

from typing import Any

from deployments.provider_caller.translators.fields import Fields, refused
from deployments.provider_caller.translators.reasoning_state import unseal
from deployments.provider_caller.translators.requests.extended_chat import FILE_URL, THINKING_BLOCKS

Item = dict[str, Any]


def input_items(fields: Fields) -> list[Item]:
    """Raises ValidationError or UnprocessableError, naming the field."""
    items: list[Item] = []
    custom_calls: set[str] = set()
    for message in fields.objects("messages"):
        match message.text("role"):
            case "system" | "developer" | "user" as role:
                items.append({"role": role, "content": _content(message)})
            case "assistant":
                items += _assistant(message, custom_calls)
            case "tool":
                call = message.text("tool_call_id")
                kind = "custom_tool_call_output" if call in custom_calls else "function_call_output"
                items.append({"type": kind, "call_id": call, "output": _content(message)})
            case "function":
                raise refused(message.at("role"), "the routed model takes functions as tools only", "use `tool`")
            case _:
                raise message.wrong("role", "one of system, developer, user, assistant, tool")
    if not items:
        raise fields.wrong("messages", "a list with at least one message")
    return items


def _assistant(message: Fields, custom_calls: set[str]) -> list[Item]:
    for name in ("audio", "function_call"):
        if message.has(name):
            raise refused(message.at(name), "the routed model's API has nothing like it", "leave it out")
    items = [item for stated in message.objects(THINKING_BLOCKS) for item in _reasoning(stated)]
    text = _spoken(message)
    if text:
        items.append({"role": "assistant", "content": text})
    for call in message.objects("tool_calls"):
        call_id = call.text("id")
        if call.find_text("type") == "custom":
            custom_calls.add(call_id)
            custom = call.object("custom")
            what = {"name": custom.text("name"), "input": custom.text("input")}
            items.append({"type": "custom_tool_call", "call_id": call_id, **what})
        else:
            function = call.object("function")
            what = {"name": function.text("name"), "arguments": function.find_text("arguments") or "{}"}
            items.append({"type": "function_call", "call_id": call_id, **what})
    return items


def _reasoning(stated: Fields) -> list[Item]:
    """Only what OpenAI encrypted itself can be given back to it."""
    state = unseal("openai_reasoning", stated.find_text("signature") or "")
    if state is None:
        return []
    id, _, encrypted = state.partition(":")
    thinking = stated.find_text("thinking")
    summary = [{"type": "summary_text", "text": thinking}] if thinking else []
    return [{"type": "reasoning", "id": id, "summary": summary, "encrypted_content": encrypted}]


def _spoken(message: Fields) -> str:
    """What the assistant said, as one text."""
    content = message.content.get("content")
    refusal = message.find_text("refusal") or ""
    if content is None or isinstance(content, str):
        return (content or "") + refusal
    texts = []
    for part in message.objects("content"):
        kind = part.text("type")
        if kind not in ("text", "refusal"):
            raise part.wrong("type", "one of text, refusal")
        texts.append(part.text(kind))
    return "".join(texts) + refusal


def _content(message: Fields) -> str | list[dict[str, Any]]:
    content = message.content.get("content")
    if isinstance(content, str):
        return content
    if content is None:
        raise message.wrong("content", "a string or a list of parts")
    return [_part(part) for part in message.objects("content")]


def _part(part: Fields) -> dict[str, Any]:
    match part.text("type"):
        case "text":
            return {"type": "input_text", "text": part.text("text")}
        case "image_url":
            image = part.object("image_url")
            detail = image.find_text("detail") or "auto"
            return {"type": "input_image", "image_url": image.text("url"), "detail": detail}
        case "file":
            file = part.object("file")
            names = ("file_id", "file_data", "filename", FILE_URL)
            found = {name: text for name in names if (text := file.find_text(name)) is not None}
            if FILE_URL in found:
                found.pop("filename", None)  # OpenAI takes a name with content only.
            return {"type": "input_file", **found}
        case "input_audio":
            raise refused(part.at("type"), "the routed model's API does not listen", "send text")
    raise part.wrong("type", "one of text, image_url, file")
