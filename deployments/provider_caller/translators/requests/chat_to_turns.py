"""The conversation of a chat completion as Anthropic takes it: a system prompt, then turns of user and assistant.

System and developer messages go to the front, wherever they stand: only the newest models take them in between.
Messages of one side that follow each other become one turn; results of tools are said by the user.
"""

from typing import Any

import orjson

from deployments.provider_caller.translators.fields import Fields, refused
from deployments.provider_caller.translators.reasoning_state import unseal
from deployments.provider_caller.translators.requests.data_urls import read_data_url
from deployments.provider_caller.translators.requests.extended_chat import FILE_URL, THINKING_BLOCKS

Block = dict[str, Any]

_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")


def turns(fields: Fields) -> tuple[str | list[Block], list[dict[str, Any]]]:
    """The system prompt and the turns. Raises ValidationError or UnprocessableError, naming the field."""
    system: list[Block] = []
    conversation: list[tuple[str, list[Block]]] = []
    for message in fields.objects("messages"):
        role = message.text("role")
        if role in ("system", "developer"):
            system += _texts(message)
            continue
        side, blocks = _said(role, message)
        if not blocks:
            continue
        if conversation and conversation[-1][0] == side:
            conversation[-1][1].extend(blocks)
        else:
            conversation.append((side, blocks))
    if not conversation:
        raise fields.wrong("messages", "a list with a message of the user that is not empty")
    return _short(system), [{"role": side, "content": _short(blocks)} for side, blocks in conversation]


def _said(role: str, message: Fields) -> tuple[str, list[Block]]:
    match role:
        case "user":
            return "user", _parts(message)
        case "assistant":
            return "assistant", _answer(message)
        case "tool":
            result: Block = {"type": "tool_result", "tool_use_id": message.text("tool_call_id")}
            if content := _short(_parts(message)):
                result["content"] = content
            return "user", [result]
        case "function":
            raise refused(message.at("role"), "the routed model takes functions as tools only", "use `tool`")
    raise message.wrong("role", "one of system, developer, user, assistant, tool")


def _answer(message: Fields) -> list[Block]:
    """What the assistant said: its reasoning, its text, the tools it called."""
    for name in ("audio", "function_call"):
        if message.has(name):
            raise refused(message.at(name), "Anthropic's models have nothing like it", "leave it out")
    blocks = [block for stated in message.objects(THINKING_BLOCKS) for block in _thought(stated)]
    blocks += _texts(message)
    if refusal := message.find_text("refusal"):
        blocks.append({"type": "text", "text": refusal})
    for call in message.objects("tool_calls"):
        if call.find_text("type") not in (None, "function"):
            raise refused(call.at("type"), "Anthropic's models have no custom tools", "use function tools")
        function = call.object("function")
        arguments = _arguments(function)
        blocks.append({"type": "tool_use", "id": call.text("id"), "name": function.text("name"), "input": arguments})
    return blocks


def _thought(stated: Fields) -> list[Block]:
    """Only what Anthropic signed itself can be given back to it."""
    sealed = stated.find_text("signature") or ""
    if signature := unseal("anthropic_thinking", sealed):
        return [{"type": "thinking", "thinking": stated.find_text("thinking") or "", "signature": signature}]
    if data := unseal("anthropic_redacted", sealed):
        return [{"type": "redacted_thinking", "data": data}]
    return []


def _arguments(function: Fields) -> dict[str, Any]:
    try:
        arguments = orjson.loads(function.find_text("arguments") or "{}")
    except orjson.JSONDecodeError:
        arguments = None
    if not isinstance(arguments, dict):
        raise function.wrong("arguments", "a JSON object, as text")
    return arguments


def _texts(message: Fields) -> list[Block]:
    """Content that may hold nothing but text."""
    blocks = _parts(message)
    for block in blocks:
        if block["type"] != "text":
            raise message.wrong("content", f"text for the role {message.text('role')}")
    return blocks


def _parts(message: Fields) -> list[Block]:
    """Content as blocks. Empty texts are left out: Anthropic refuses them."""
    content = message.content.get("content")
    if content is None or isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    blocks = []
    for part in message.objects("content"):
        block = _part(part)
        if block != {"type": "text", "text": ""}:
            cache_control = part.find_json("cache_control")
            blocks.append(block | ({"cache_control": cache_control} if cache_control else {}))
    return blocks


def _part(part: Fields) -> Block:
    match part.text("type"):
        case "text":
            return {"type": "text", "text": part.text("text")}
        case "refusal":
            return {"type": "text", "text": part.text("refusal")}
        case "image_url":
            return {"type": "image", "source": _image(part.object("image_url"))}
        case "file":
            return _document(part.object("file"))
        case "input_audio":
            raise refused(part.at("type"), "Anthropic's models do not listen", "send text")
    raise part.wrong("type", "one of text, refusal, image_url, file")


def _image(image: Fields) -> dict[str, Any]:
    url = image.text("url")
    found = read_data_url(url)
    if found is None:
        return {"type": "url", "url": url}
    media_type, content = found
    if media_type not in _IMAGES:
        raise refused(image.at("url"), f"Anthropic's models see {', '.join(_IMAGES)} only", "convert the image")
    return {"type": "base64", "media_type": media_type, "data": content}


def _document(file: Fields) -> Block:
    title = {"title": name} if (name := file.find_text("filename")) else {}
    if url := file.find_text(FILE_URL):
        return {"type": "document", "source": {"type": "url", "url": url}, **title}
    if file.has("file_id"):
        raise refused(file.at("file_id"), "the routed model's provider does not have this file", "send its content")
    found = read_data_url(file.text("file_data"))
    if found is None or found[0] != "application/pdf":
        raise refused(file.at("file_data"), "Anthropic's models read PDF files", "send a data URL of application/pdf")
    return {"type": "document", "source": {"type": "base64", "media_type": found[0], "data": found[1]}, **title}


def _short(blocks: list[Block]) -> str | list[Block]:
    """One plain text is written as a string."""
    if not blocks:
        return ""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        text: str = blocks[0]["text"]
        return text
    return blocks
