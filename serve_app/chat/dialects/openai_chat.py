"""OpenAI's chat completions: the fields that Penstock acts on, checked; all others go on untouched."""

import re
from typing import Any, ClassVar

from deployments.protocols import Dialect
from kit.errors import PenstockError
from serve_app.chat.dialects import fields
from serve_app.chat.dialects.extras import take_extras
from serve_app.chat.dialects.openai_chat_stream import Completion, replayed
from serve_app.chat.dialects.request import DialectRequest
from serve_app.http.bodies import json_object
from serve_app.http.errors import payload
from serve_app.http.sse import encode

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_LEADING = ("system", "developer")
_TEXT = ("text",)
_USAGE_CHUNK = re.compile(rb'"choices"\s*:\s*\[\s*\](?=[^\n]*"usage"\s*:\s*\{)')


class ChatCompletionsRequest(DialectRequest):
    """A body of POST /v1/chat/completions."""

    __slots__ = ()

    dialect: ClassVar[Dialect] = "openai_chat"
    conversation_field = "messages"
    shapes_nothing = frozenset({"stream", "stream_options", "user", "metadata", "store", "safety_identifier"})

    @property
    def question(self) -> str:
        """The text of the last user message."""
        for message in reversed(self.body["messages"]):
            if message["role"] == "user":
                return fields.text_of(message.get("content"), _TEXT)
        return ""

    @property
    def choices(self) -> int:
        """The field `n`."""
        return self.body.get("n") or 1

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with a usage chunk."""
        return bool((self.body.get("stream_options") or {}).get("include_usage"))

    @property
    def cost_mark(self) -> re.Pattern[bytes] | None:
        """The usage chunk, the only one without a choice."""
        return _USAGE_CHUNK if self.include_usage else None

    def with_system(self, text: str) -> dict[str, Any]:
        """A system message after the leading ones."""
        messages = self.body["messages"]
        leading = 0
        while leading < len(messages) and messages[leading]["role"] in _LEADING:
            leading += 1
        added = {"role": "system", "content": text}
        return {**self.body, "messages": [*messages[:leading], added, *messages[leading:]]}

    def gathering(self) -> Completion:
        """A chat completion."""
        return Completion()

    def replay(self, body: bytes) -> bytes:
        """Chunks and `[DONE]`."""
        return replayed(body, include_usage=self.include_usage)

    def error_event(self, error: PenstockError, request_id: str, tail: bytes) -> bytes:
        """An `error` object in the place of a chunk: official clients raise on it."""
        return encode(payload(error, request_id, "openai"))


def parse(raw: bytes) -> ChatCompletionsRequest:
    """Parse a request body. Raises ValidationError that names the field."""
    body = json_object(raw)
    model = fields.model_of(body)
    _check_messages(body)
    stream = _check_options(body)
    if "penstock" not in body:
        return ChatCompletionsRequest(model, body, raw, stream)
    extras = take_extras(body)
    return ChatCompletionsRequest(model, body, None, stream, extras)


def _check_messages(body: dict[str, Any]) -> None:
    for index, message in enumerate(fields.objects("messages", body, "messages", "messages")):
        role, content = message.get("role"), message.get("content")
        if role not in ROLES or not isinstance(role, str):
            raise fields.wrong(f"messages[{index}].role", f"must be one of {', '.join(ROLES)}", message, "role")
        if isinstance(content, str) or (content is None and role in ("assistant", "function")):
            continue
        fields.check_content(f"messages[{index}]", message, _TEXT)


def _check_options(body: dict[str, Any]) -> bool:
    """Whether the answer is to be streamed."""
    stream = fields.flag(body, "stream")
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise fields.wrong("stream_options", "must be an object", body, "stream_options")
    fields.check_temperature(body, 2)
    choices = body.get("n")
    if choices is not None and (isinstance(choices, bool) or not isinstance(choices, int) or not 1 <= choices <= 128):
        raise fields.wrong("n", "must be an integer from 1 to 128", body, "n")
    return stream
