"""The input items of OpenAI's responses as the messages of a chat completion.

What the assistant said and called in one go becomes one message: chat keeps calls in the message that made them, and
their results must follow it at once.
"""

from typing import Any

from deployments.provider_caller.translators.fields import Fields, refused
from deployments.provider_caller.translators.requests.extended_chat import FILE_URL, THINKING_BLOCKS
from deployments.provider_caller.translators.requests.turns_to_chat import Message, Part, result_message


def conversation(fields: Fields) -> list[Message]:
    """Instructions and messages. Raises ValidationError or UnprocessableError, naming the field."""
    messages: list[Message] = []
    if instructions := fields.find_text("instructions"):
        messages.append({"role": "system", "content": instructions})
    stated = fields.content.get("input")
    if isinstance(stated, str):
        return [*messages, {"role": "user", "content": stated}]
    items = fields.objects("input")
    if not items:
        raise fields.wrong("input", "a string, or a list with at least one item")
    writer = _Writer(messages)
    for item in items:
        writer.add(item)
    writer.flush()
    return messages


class _Writer:
    """`_shown` is what tools returned beside text; it is said when the last result of the turn has been given."""

    def __init__(self, messages: list[Message]) -> None:
        self._messages = messages
        self._assistant: Message | None = None
        self._shown: list[Part] = []

    def add(self, item: Fields) -> None:
        """One item."""
        match item.find_text("type") or ("message" if item.has("role") else "item_reference"):
            case "message":
                self._message(item)
            case "function_call":
                function = {"name": item.text("name"), "arguments": item.text("arguments")}
                self._call({"id": item.text("call_id"), "type": "function", "function": function})
            case "custom_tool_call":
                custom = {"name": item.text("name"), "input": item.text("input")}
                self._call({"id": item.text("call_id"), "type": "custom", "custom": custom})
            case "function_call_output" | "custom_tool_call_output":
                self._result(item)
            case "reasoning":
                self._reasoning(item)
            case "item_reference":
                raise refused(item.path, "this gateway keeps no items", "send the item itself")
            case kind:
                reason = f"the routed model's provider knows no item {kind[:40]}"
                raise refused(item.at("type"), reason, "leave it out, or name a model of OpenAI's")

    def flush(self) -> None:
        """Say what the tools showed."""
        self._assistant = None
        if self._shown:
            self._messages.append({"role": "user", "content": self._shown})
            self._shown = []

    def _message(self, item: Fields) -> None:
        role = item.text("role")
        if role not in ("user", "assistant", "system", "developer"):
            raise item.wrong("role", "one of user, assistant, system, developer")
        content = _content(item)
        if role != "assistant":
            self.flush()
            self._messages.append({"role": role, "content": content})
            return
        message = self._answer()
        said = [message["content"], _spoken(item, content)]
        message["content"] = "\n\n".join(text for text in said if text)

    def _answer(self) -> Message:
        """The open message of the assistant."""
        if self._assistant is None:
            self.flush()
            self._assistant = {"role": "assistant", "content": None}
            self._messages.append(self._assistant)
        return self._assistant

    def _call(self, call: dict[str, Any]) -> None:
        self._answer().setdefault("tool_calls", []).append(call)

    def _result(self, item: Fields) -> None:
        content = item.content.get("output")
        if isinstance(content, str):
            parts: list[Part] = [{"type": "text", "text": content}]
        elif content is None:
            raise item.wrong("output", "a string or a list of parts")
        else:
            parts = [_part(part) for part in item.objects("output")]
        message, shown = result_message(item.text("call_id"), parts)
        self._assistant = None
        self._messages.append(message)
        self._shown += shown

    def _reasoning(self, item: Fields) -> None:
        state = item.find_text("encrypted_content")
        summary = [part.text("text") for part in item.objects("summary")]
        if state:
            block = {"type": "thinking", "thinking": "\n\n".join(summary), "signature": state}
            self._answer().setdefault(THINKING_BLOCKS, []).append(block)


def _content(item: Fields) -> str | list[Part]:
    content = item.content.get("content")
    if isinstance(content, str):
        return content
    if content is None:
        raise item.wrong("content", "a string or a list of parts")
    return [_part(part) for part in item.objects("content")]


def _spoken(item: Fields, content: str | list[Part]) -> str:
    if isinstance(content, str):
        return content
    for part in content:
        if part["type"] != "text":
            raise item.wrong("content", "text for the role assistant")
    return "".join(part["text"] for part in content)


def _part(part: Fields) -> Part:
    match part.text("type"):
        case "input_text" | "output_text" | "text":
            return {"type": "text", "text": part.text("text")}
        case "refusal":
            return {"type": "text", "text": part.text("refusal")}
        case "input_image":
            return _image(part)
        case "input_file":
            names = ("file_id", "file_data", "filename", FILE_URL)
            file = {name: text for name in names if (text := part.find_text(name)) is not None}
            return {"type": "file", "file": file}
    raise part.wrong("type", "one of input_text, input_image, input_file, output_text, refusal")


def _image(part: Fields) -> Part:
    if part.has("file_id"):
        raise refused(part.at("file_id"), "the routed model's provider does not have this file", "send `image_url`")
    detail = part.find_text("detail")
    image = {"url": part.text("image_url"), **({"detail": detail} if detail else {})}
    return {"type": "image_url", "image_url": image}
