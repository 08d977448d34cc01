"""OpenAI's responses: the fields that Penstock acts on, checked; all others go on untouched.

Penstock keeps no responses, so what refers to an earlier one is refused. `store` passes: it asks for something that
nobody can see the lack of until a response is looked up, and then the answer is a 404.
"""

import re
from typing import Any, ClassVar

from deployments.protocols import Dialect
from kit.errors import PenstockError
from serve_app.chat.dialects import fields
from serve_app.chat.dialects.extras import take_extras
from serve_app.chat.dialects.openai_responses_stream import GatheredResponse, next_number, replayed
from serve_app.chat.dialects.request import DialectRequest
from serve_app.http.bodies import json_object
from serve_app.http.errors import bad_field, payload
from serve_app.http.sse import encode

ROLES = ("user", "assistant", "system", "developer")
_TEXT = ("input_text", "output_text", "text")
_END = re.compile(rb'"type"\s*:\s*"response\.(?:completed|incomplete)"')
_STATEFUL = {
    "previous_response_id": "send the earlier turns in `input`",
    "conversation": "send the earlier turns in `input`",
    "background": "leave it out and wait for the answer, or stream it",
}


class ResponsesRequest(DialectRequest):
    """A body of POST /v1/responses."""

    __slots__ = ()

    dialect: ClassVar[Dialect] = "openai_responses"
    conversation_field = "input"
    shapes_nothing = frozenset({"stream", "stream_options", "user", "metadata", "store", "safety_identifier"})

    @property
    def question(self) -> str:
        """The text of the last user message, or the whole input where it is a string."""
        given = self.body["input"]
        if isinstance(given, str):
            return given
        for item in reversed(given):
            if item.get("role") == "user":
                return fields.text_of(item["content"], _TEXT)
        return ""

    @property
    def cost_mark(self) -> re.Pattern[bytes]:
        """The event `response.completed` or `response.incomplete`."""
        return _END

    def with_system(self, text: str) -> dict[str, Any]:
        """A text more at the end of `instructions`."""
        given = self.body.get("instructions")
        return {**self.body, "instructions": f"{given}\n\n{text}" if given else text}

    def gathering(self) -> GatheredResponse:
        """A response."""
        return GatheredResponse()

    def replay(self, body: bytes) -> bytes:
        """The events from `response.created` to `response.completed`."""
        return replayed(body)

    def error_event(self, error: PenstockError, request_id: str, tail: bytes) -> bytes:
        """The event `error`. Its fields stand at the top, as the API says, and once more in an object `error`, without
        which official clients would take the end of the stream for a good one."""
        stated = payload(error, request_id, "openai")["error"]
        top = {name: stated[name] for name in ("code", "message", "param")}
        return encode({"type": "error", **top, "sequence_number": next_number(tail), "error": stated}, "error")


def parse(raw: bytes) -> ResponsesRequest:
    """Parse a request body. Raises ValidationError that names the field."""
    body = json_object(raw)
    model = fields.model_of(body)
    for name, remedy in _STATEFUL.items():
        if body.get(name):
            raise bad_field(name, f"is not supported, because responses are not kept: {remedy}")
    if not isinstance(body.get("input"), str) or not body["input"]:
        _check_items(body)
    instructions = body.get("instructions")
    if instructions is not None and not isinstance(instructions, str):
        raise fields.wrong("instructions", "must be a string", body, "instructions")
    fields.check_temperature(body, 2)
    stream = fields.flag(body, "stream")
    if "penstock" not in body:
        return ResponsesRequest(model, body, raw, stream)
    extras = take_extras(body)
    return ResponsesRequest(model, body, None, stream, extras)


def _check_items(body: dict[str, Any]) -> None:
    if isinstance(body.get("input"), str):
        raise fields.wrong("input", "must be a text that is not empty, or an array of items", body, "input")
    for index, item in enumerate(fields.objects("input", body, "input", "items, or a text")):
        path = f"input[{index}]"
        if item.get("type", "message") == "message":
            if item.get("role") not in ROLES:
                raise fields.wrong(f"{path}.role", f"must be one of {', '.join(ROLES)}", item, "role")
            fields.check_content(path, item, _TEXT)
        elif item["type"] == "item_reference":
            raise bad_field(path, "refers to an item of an earlier response; responses are not kept: send it whole")
        elif not isinstance(item["type"], str):
            raise fields.wrong(f"{path}.type", "must be a string", item, "type")
