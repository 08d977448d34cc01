"""What the OpenAPI document says of the requests. Only what Penstock acts on is listed; all else goes on untouched."""

from typing import Any

from serve_app.chat.dialects import anthropic_messages, openai_chat, openai_responses
from serve_app.chat.dialects.extras import MODES

_CONTENT = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}, {"type": "null"}]}
_COMMON: dict[str, Any] = {
    "model": {
        "type": "string",
        "description": "A model id, `auto`, `auto:cost|speed|quality`, or one of them followed by `@COLLECTION` for "
        "answers grounded in that collection.",
    },
    "stream": {"type": "boolean", "default": False},
    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
    "penstock": {
        "type": "object",
        "properties": {
            "collection": {"type": "string"},
            "mode": {"enum": list(MODES)},
            "cache": {"type": "boolean"},
        },
    },
}


def _turns(roles: tuple[str, ...]) -> dict[str, Any]:
    turn = {"type": "object", "properties": {"role": {"enum": list(roles)}, "content": _CONTENT}}
    return {"type": "array", "minItems": 1, "items": turn}


def _request(description: str, required: list[str], **properties: Any) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": required,
        "additionalProperties": True,
        "description": f"{description}; fields not listed here go to the provider.",
        "properties": {**_COMMON, **properties},
    }
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


CHAT_COMPLETIONS = _request(
    "OpenAI's chat completions request",
    ["model", "messages"],
    messages=_turns(openai_chat.ROLES),
    stream_options={"type": "object", "properties": {"include_usage": {"type": "boolean"}}},
    n={"type": "integer", "minimum": 1, "maximum": 128},
)
RESPONSES = _request(
    "OpenAI's request of the Responses API, without what needs stored responses",
    ["model", "input"],
    input={"anyOf": [{"type": "string"}, _turns(openai_responses.ROLES)]},
    instructions={"type": "string"},
)
_SYSTEM = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]}
MESSAGES = _request(
    "Anthropic's messages request",
    ["model", "messages", "max_tokens"],
    messages=_turns(anthropic_messages.ROLES),
    system=_SYSTEM,
    max_tokens={"type": "integer", "minimum": 0},
    temperature={"type": "number", "minimum": 0, "maximum": 1},
)
COUNT_TOKENS = _request(
    "Anthropic's request to count tokens",
    ["model", "messages"],
    messages=_turns(anthropic_messages.ROLES),
    system=_SYSTEM,
    tools={"type": "array", "items": {"type": "object"}},
)
