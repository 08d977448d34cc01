"""The conversation of Anthropic's messages as chat completions take it.

One turn of the user may become several messages: each result of a tool is one, and what else was said follows. Tools
answer in text there, so images and documents of a result follow it as something that the user says.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from deployments.provider_caller.translators.fields import Fields, refused
from deployments.provider_caller.translators.requests.data_urls import data_url
from deployments.provider_caller.translators.requests.extended_chat import FILE_URL, THINKING_BLOCKS

Part = dict[str, Any]
Message = dict[str, Any]


def conversation(fields: Fields) -> list[Message]:
    """System prompt and messages. Raises ValidationError or UnprocessableError, naming the field."""
    messages: list[Message] = []
    if fields.has("system"):
        messages.append({"role": "system", "content": _short(_texts(fields, "system"))})
    turns = fields.objects("messages")
    for turn in turns:
        match turn.text("role"):
            case "user":
                messages += _user(turn)
            case "assistant":
                messages.append(_assistant(turn))
            case "system":
                messages.append({"role": "system", "content": _short(_texts(turn, "content"))})
            case _:
                raise turn.wrong("role", "one of user, assistant, system")
    if not turns:
        raise fields.wrong("messages", "a list with at least one message")
    if turns[-1].text("role") == "assistant":
        reason = "the routed model cannot go on with a begun answer"
        raise refused(turns[-1].path, reason, "end with a message of the user, or name a model of Anthropic's")
    return messages


def _user(turn: Fields) -> list[Message]:
    content = turn.content.get("content")
    if content is None:
        raise turn.wrong("content", "a string or a list of blocks")
    if isinstance(content, str):
        return [{"role": "user", "content": content}]
    results: list[Message] = []
    parts: list[Part] = []
    for block in turn.objects("content"):
        if block.text("type") == "tool_result":
            result, shown = tool_result(block)
            results.append(result)
            parts += shown
        else:
            parts += _parts(block)
    return [*results, {"role": "user", "content": _short(parts)}] if parts else results


def tool_result(block: Fields) -> tuple[Message, list[Part]]:
    """The message of the tool, and what it showed."""
    call = block.text("tool_use_id")
    content = block.content.get("content")
    if isinstance(content, str):
        parts: list[Part] = [{"type": "text", "text": content}]
    else:
        parts = [part for inner in block.objects("content") for part in _parts(inner)]
    failed = "Error: " if block.find_flag("is_error") else ""
    return result_message(call, parts, failed)


def result_message(call: str, parts: Sequence[Part], prefix: str = "") -> tuple[Message, list[Part]]:
    """The result of a call in text, and the parts that are no text, with the name of the call before them."""
    text = "".join(part["text"] for part in parts if part["type"] == "text")
    shown = [part for part in parts if part["type"] != "text"]
    label = [{"type": "text", "text": f"The tool call {call} returned:"}] if shown else []
    return {"role": "tool", "tool_call_id": call, "content": prefix + text}, [*label, *shown]


def _assistant(turn: Fields) -> Message:
    content = turn.content.get("content")
    if isinstance(content, str):
        return {"role": "assistant", "content": content}
    message: Message = {"role": "assistant", "content": None}
    thoughts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for block in turn.objects("content"):
        match block.text("type"):
            case "text":
                message["content"] = (message["content"] or "") + block.text("text")
            case "thinking":
                signature = block.find_text("signature") or ""
                thought = {"type": "thinking", "thinking": block.text("thinking"), "signature": signature}
                thoughts.append(thought)
            case "redacted_thinking":
                pass  # Nobody but Anthropic can read it.
            case "tool_use":
                arguments = orjson.dumps(block.json("input")).decode()
                function = {"name": block.text("name"), "arguments": arguments}
                calls.append({"id": block.text("id"), "type": "function", "function": function})
            case kind:
                reason = f"only Anthropic's models have {kind[:40]} in an answer"
                raise refused(block.at("type"), reason, "leave it out, or name a model of Anthropic's")
    if calls:
        message["tool_calls"] = calls
    elif message["content"] is None:
        message["content"] = ""
    if thoughts:
        message[THINKING_BLOCKS] = thoughts
    return message


def _texts(fields: Fields, name: str) -> list[Part]:
    value = fields.content.get(name)
    if isinstance(value, str):
        return [{"type": "text", "text": value}]
    parts = []
    for block in fields.objects(name):
        if block.text("type") != "text":
            raise block.wrong("type", "`text`")
        parts.append({"type": "text", "text": block.text("text")})
    return parts


def _parts(block: Fields) -> list[Part]:
    """A block of the user's, or of a tool's result."""
    match block.text("type"):
        case "text":
            return [{"type": "text", "text": block.text("text")}]
        case "image":
            return [{"type": "image_url", "image_url": {"url": _image(block.object("source"))}}]
        case "document":
            return _document(block)
        case "search_result":
            found = "".join(part["text"] for part in _texts(block, "content"))
            return [{"type": "text", "text": f"{block.text('title')}\n{block.text('source')}\n{found}"}]
        case kind:
            reason = f"only Anthropic's models take {kind[:40]}"
            raise refused(block.at("type"), reason, "leave it out, or name a model of Anthropic's")


def _image(source: Fields) -> str:
    match source.text("type"):
        case "url":
            return source.text("url")
        case "base64":
            return data_url(source.text("media_type"), source.text("data"))
    raise _foreign_file(source)


def _document(block: Fields) -> list[Part]:
    source = block.object("source")
    title, context = block.find_text("title"), block.find_text("context")
    name = title or "document.pdf"
    heading: list[Part] = [{"type": "text", "text": context}] if context else []
    match source.text("type"):
        case "base64":
            content = data_url(source.text("media_type"), source.text("data"))
            return [*heading, {"type": "file", "file": {"filename": name, "file_data": content}}]
        case "url":
            return [*heading, {"type": "file", "file": {"filename": name, FILE_URL: source.text("url")}}]
        case "text":
            text = source.text("data")
            return [*heading, {"type": "text", "text": f"{title}\n\n{text}" if title else text}]
        case "content":
            said = source.content.get("content")
            if isinstance(said, str):
                return [*heading, {"type": "text", "text": said}]
            return [*heading, *(part for inner in source.objects("content") for part in _passage(inner))]
    raise _foreign_file(source)


def _passage(block: Fields) -> list[Part]:
    """A block inside a document: these do not nest."""
    if block.text("type") not in ("text", "image"):
        raise block.wrong("type", "one of text, image")
    return _parts(block)


def _foreign_file(source: Fields) -> Exception:
    kind = source.text("type")
    if kind != "file":
        return source.wrong("type", "one of base64, url, text, content, file")
    return refused(source.at("type"), "the routed model's provider does not have this file", "send its content")


def _short(parts: list[Part]) -> str | list[Part]:
    """One text is written as a string."""
    if len(parts) == 1 and parts[0]["type"] == "text":
        text: str = parts[0]["text"]
        return text
    return parts
