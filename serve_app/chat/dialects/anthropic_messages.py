"""Anthropic's messages: the fields that Penstock acts on, checked; all others go on untouched."""

import re
from typing import Any, ClassVar

from deployments.protocols import Dialect
from kit.errors import PenstockError
from serve_app.chat.dialects import fields
from serve_app.chat.dialects.anthropic_messages_stream import GatheredMessage, replayed
from serve_app.chat.dialects.extras import NO_EXTRAS, take_extras
from serve_app.chat.dialects.request import DialectRequest
from serve_app.http.bodies import json_object
from serve_app.http.errors import bad_field, payload
from serve_app.http.sse import encode

ROLES = ("user", "assistant", "system")
_TEXT = ("text",)
_END = re.compile(rb'"type"\s*:\s*"message_stop"')


class MessagesRequest(DialectRequest):
    """A body of POST /v1/messages."""

    __slots__ = ()

    dialect: ClassVar[Dialect] = "anthropic_messages"
    conversation_field = "messages"
    shapes_nothing = frozenset({"stream", "metadata", "service_tier"})

    @property
    def question(self) -> str:
        """The text of the last user message that has any; those of tool results alone are passed over."""
        for message in reversed(self.body["messages"]):
            if message["role"] == "user" and (text := fields.text_of(message["content"], _TEXT)):
                return text
        return ""

    @property
    def cost_mark(self) -> re.Pattern[bytes]:
        """The event `message_stop`."""
        return _END

    def with_system(self, text: str) -> dict[str, Any]:
        """A text more at the end of `system`."""
        given = self.body.get("system")
        if isinstance(given, list):
            return {**self.body, "system": [*given, {"type": "text", "text": text}]}
        return {**self.body, "system": f"{given}\n\n{text}" if given else text}

    def gathering(self) -> GatheredMessage:
        """A message."""
        return GatheredMessage()

    def replay(self, body: bytes) -> bytes:
        """The events from `message_start` to `message_stop`."""
        return replayed(body)

    def error_event(self, error: PenstockError, request_id: str, tail: bytes) -> bytes:
        """The event `error`: official clients raise on it."""
        return encode(payload(error, request_id, "anthropic"), "error")


def parse(raw: bytes) -> MessagesRequest:
    """Parse a request body. Raises ValidationError that names the field."""
    body = json_object(raw)
    model = _check(body)
    stream = fields.flag(body, "stream")
    fields.check_temperature(body, 1)
    limit = body.get("max_tokens")
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise fields.wrong("max_tokens", "must be an integer that is not negative", body, "max_tokens")
    if "penstock" not in body:
        return MessagesRequest(model, body, raw, stream)
    extras = take_extras(body)
    return MessagesRequest(model, body, None, stream, extras)


def parse_count(raw: bytes) -> MessagesRequest:
    """Parse a body of POST /v1/messages/count_tokens, which needs no `max_tokens`."""
    body = json_object(raw)
    return MessagesRequest(_check(body), body, raw, extras=take_extras(body) if "penstock" in body else NO_EXTRAS)


def _check(body: dict[str, Any]) -> str:
    """Check model, system and messages; the model."""
    model = fields.model_of(body)
    for index, message in enumerate(fields.objects("messages", body, "messages", "messages")):
        role = message.get("role")
        if role not in ROLES:
            raise fields.wrong(f"messages[{index}].role", f"must be one of {', '.join(ROLES)}", message, "role")
        fields.check_content(f"messages[{index}]", message, _TEXT)
    system = body.get("system")
    if system is not None and not isinstance(system, str):
        _check_blocks(body)
    return model


def _check_blocks(body: dict[str, Any]) -> None:
    blocks = body["system"]
    if not isinstance(blocks, list):
        raise fields.wrong("system", "must be a string or an array of text blocks", body, "system")
    for index, block in enumerate(blocks):
        if not isinstance(block, dict) or not isinstance(block.get("text"), str):
            raise bad_field(f"system[{index}]", "must be a block of the type `text` with a `text`")
