"""A chat completions request: the fields that Penstock acts on, checked; all others go on untouched."""

from dataclasses import dataclass, field
from typing import Any

from kit.errors import ValidationError
from serve_app.http.bodies import json_object, kind_of
from serve_app.http.errors import bad_field

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MODES = ("cost", "speed", "quality")
MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Extras:
    """The request field `penstock`."""

    collection: str | None = None
    mode: str | None = None
    use_cache: bool | None = None
    """None: as the cache policy says."""


@dataclass(slots=True)
class ChatRequest:
    """One parsed request. `body` is the whole JSON object without `penstock`; raw: the bytes as they came, None when
    something was taken out of them."""

    model: str
    body: dict[str, Any]
    raw: bytes | None
    stream: bool = False
    extras: Extras = field(default_factory=Extras)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation."""
        return self.body["messages"]  # type: ignore[no-any-return]

    @property
    def question(self) -> str:
        """The text of the last user message, empty where there is none."""
        return question_of(self.messages)

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with a usage chunk."""
        return bool((self.body.get("stream_options") or {}).get("include_usage"))


def parse(raw: bytes) -> ChatRequest:
    """Parse a request body. Raises ValidationError that names the field."""
    body = json_object(raw)
    model = body.get("model")
    if not isinstance(model, str) or not 1 <= len(model) <= MAX_NAME:
        raise _wrong("model", f"must be a string of 1 to {MAX_NAME} characters", body, "model")
    _check_messages(body)
    _check_options(body)
    extras = Extras()
    whole: bytes | None = raw
    if "penstock" in body:
        extras = _extras(body.pop("penstock"))
        whole = None
    return ChatRequest(model, body, whole, stream=body.get("stream") is True, extras=extras)


def question_of(messages: list[dict[str, Any]]) -> str:
    """The text of the last user message, its text parts joined; empty where there is none."""
    for message in reversed(messages):
        if message["role"] == "user":
            content = message.get("content") or ""
            if isinstance(content, str):
                return content
            return "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return ""


def _check_messages(body: dict[str, Any]) -> None:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _wrong("messages", "must be a non-empty array of messages", body, "messages")
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        if not isinstance(message, dict):
            raise bad_field(path, f"must be an object, not {kind_of(message)}")
        role = message.get("role")
        if not isinstance(role, str) or role not in ROLES:
            raise _wrong(f"{path}.role", f"must be one of {', '.join(ROLES)}", message, "role")
        _check_content(path, role, message)


def _check_content(path: str, role: str, message: dict[str, Any]) -> None:
    content = message.get("content")
    if isinstance(content, str):
        return
    if isinstance(content, list):
        for index, part in enumerate(content):
            if not isinstance(part, dict) or not isinstance(part.get("type"), str):
                raise bad_field(f"{path}.content[{index}]", "must be an object with a `type`")
            if part["type"] == "text" and not isinstance(part.get("text"), str):
                raise bad_field(f"{path}.content[{index}].text", "must be a string")
        return
    if content is None and role in ("assistant", "function"):
        return
    raise _wrong(f"{path}.content", "must be a string or an array of parts", message, "content")


def _check_options(body: dict[str, Any]) -> None:
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise _wrong("stream", "must be true or false", body, "stream")
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise _wrong("stream_options", "must be an object", body, "stream_options")
    temperature = body.get("temperature")
    if temperature is not None and (not _is_number(temperature) or not 0 <= temperature <= 2):
        raise _wrong("temperature", "must be a number from 0 to 2", body, "temperature")
    choices = body.get("n")
    if choices is not None and (isinstance(choices, bool) or not isinstance(choices, int) or not 1 <= choices <= 128):
        raise _wrong("n", "must be an integer from 1 to 128", body, "n")


def _extras(value: Any) -> Extras:
    if value is None:
        return Extras()
    if not isinstance(value, dict):
        raise bad_field("penstock", f"must be an object, not {kind_of(value)}")
    collection, mode, cache = value.get("collection"), value.get("mode"), value.get("cache")
    if collection is not None and (not isinstance(collection, str) or not 1 <= len(collection) <= MAX_NAME):
        raise _wrong("penstock.collection", "must be the name of a collection", value, "collection")
    if mode is not None and (not isinstance(mode, str) or mode not in MODES):
        raise _wrong("penstock.mode", f"must be one of {', '.join(MODES)}", value, "mode")
    if cache is not None and not isinstance(cache, bool):
        raise _wrong("penstock.cache", "must be true or false", value, "cache")
    return Extras(collection, mode, cache)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong(path: str, allowed: str, owner: dict[str, Any], name: str) -> ValidationError:
    if name not in owner:
        return bad_field(path, f"is required and {allowed}")
    value = owner[name]
    shown = repr(value[:40]) if isinstance(value, str) and value else "empty" if value in ("", []) else kind_of(value)
    return bad_field(path, f"{allowed}, not {shown}")


OPENAPI = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["model", "messages"],
                    "additionalProperties": True,
                    "description": "OpenAI's chat completions request; fields not listed here go to the provider.",
                    "properties": {
                        "model": {
                            "type": "string",
                            "description": "A model id, `auto`, `auto:cost|speed|quality`, or one of them followed by "
                            "`@COLLECTION` for answers grounded in that collection.",
                        },
                        "messages": {
                            "type": "array",
                            "minItems": 1,
                            "items": {
                                "type": "object",
                                "required": ["role"],
                                "properties": {
                                    "role": {"enum": list(ROLES)},
                                    "content": {
                                        "anyOf": [
                                            {"type": "string"},
                                            {"type": "array", "items": {"type": "object"}},
                                            {"type": "null"},
                                        ]
                                    },
                                },
                            },
                        },
                        "stream": {"type": "boolean", "default": False},
                        "stream_options": {"type": "object", "properties": {"include_usage": {"type": "boolean"}}},
                        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
                        "n": {"type": "integer", "minimum": 1, "maximum": 128},
                        "penstock": {
                            "type": "object",
                            "properties": {
                                "collection": {"type": "string"},
                                "mode": {"enum": list(MODES)},
                                "cache": {"type": "boolean", "default": True},
                            },
                        },
                    },
                }
            }
        },
    }
}
"""What the OpenAPI document says of the request."""
