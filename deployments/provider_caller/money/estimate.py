"""How many tokens a request has: an estimate for people, and bounds that money is reserved by.

The estimate is the platform's rule wherever a provider does not say: bytes of text divided by four. A bound counts a
token for each byte, since no tokenizer in use makes more (they work on bytes, and a token has at least one), with the
names, tool definitions and schemas that providers put into the prompt as JSON, and a constant for what they add.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from deployments.protocols import Dialect

BYTES_PER_TOKEN = 4
MESSAGE_OVERHEAD = 16
"""Tokens of roles and separators, for each message or item."""
PART_OVERHEAD = 16
TOOLS_OVERHEAD = 1024
"""Tokens of the instructions that providers add where there are tools (Anthropic's most: about 700)."""

_INPUTS: dict[Dialect, tuple[str, ...]] = {
    "openai_chat": ("messages",),
    "openai_responses": ("instructions", "input"),
    "anthropic_messages": ("system", "messages"),
}
_DEFINITIONS = (
    "tools",
    "functions",
    "response_format",
    "text",
    "output_format",
    "output_config",
    "tool_choice",
    "mcp_servers",
)
_ELSEWHERE = ("previous_response_id", "conversation", "prompt", "container")
"""Fields that put something into the prompt which is not in the request."""
_OUTPUT_LIMITS: dict[Dialect, tuple[str, ...]] = {
    "openai_chat": ("max_completion_tokens", "max_tokens"),
    "openai_responses": ("max_output_tokens",),
    "anthropic_messages": ("max_tokens",),
}
_IMAGES = frozenset({"image", "image_url", "input_image", "computer_screenshot", "image_generation_call"})
_FILES = frozenset({"file", "input_file", "document", "input_audio", "container_upload"})


def prompt_tokens(content: Mapping[str, Any], dialect: Dialect) -> int:
    """Estimated tokens of all texts of a request: instructions, messages, tool results. At least 1."""
    size = sum(_text_bytes(content.get(name)) for name in _INPUTS[dialect])
    return max(1, -(-size // BYTES_PER_TOKEN))


def _text_bytes(value: Any) -> int:
    """Bytes of a text, or of the texts in parts, messages and items."""
    if isinstance(value, str):
        return _bytes(value)
    if not isinstance(value, list):
        return 0
    size = 0
    for part in value:
        if isinstance(part, str):
            size += _bytes(part)
        elif isinstance(part, dict):
            text = part.get("text")
            if isinstance(text, str):
                size += _bytes(text)
            else:
                size += _text_bytes(part.get("content")) + _text_bytes(part.get("output"))
    return size


def prompt_bound(
    content: Mapping[str, Any],
    dialect: Dialect,
    *,
    image_tokens: int,
    file_tokens: int,
    assumed: int,
) -> int:
    """The most prompt tokens a provider can bill for a request.

    image_tokens, file_tokens: for each image, and for each file or sound. assumed: at least this many where part of
    the prompt lies with the provider.
    """
    bound = MESSAGE_OVERHEAD
    for name in _INPUTS[dialect]:
        bound += _bound(content.get(name), image_tokens, file_tokens)
    for name in _DEFINITIONS:
        definition = content.get(name)
        if definition:
            bound += _json_bytes(definition) + TOOLS_OVERHEAD
    if any(content.get(name) for name in _ELSEWHERE):
        bound = max(bound, assumed)
    return bound


def _bound(value: Any, image_tokens: int, file_tokens: int) -> int:
    if isinstance(value, str):
        return _bytes(value) + PART_OVERHEAD
    if isinstance(value, list):
        return sum(_bound(item, image_tokens, file_tokens) for item in value)
    if isinstance(value, dict):
        return _bound_object(value, image_tokens, file_tokens)
    return PART_OVERHEAD


def _bound_object(value: Mapping[str, Any], image_tokens: int, file_tokens: int) -> int:
    """A message, an item or a part; what is in it is looked at, except pictures and files, whose bytes say nothing."""
    kind = value.get("type")
    if isinstance(kind, str):
        if kind in _IMAGES:
            return image_tokens + PART_OVERHEAD
        if kind in _FILES:
            return file_tokens + _described(value)
    bound = MESSAGE_OVERHEAD
    for name, field in value.items():
        if isinstance(field, str):
            bound += _bytes(field)
        elif isinstance(field, list) and name in ("content", "output"):
            bound += _bound(field, image_tokens, file_tokens)
        elif isinstance(field, dict) and name == "output":
            bound += _bound_object(field, image_tokens, file_tokens)
        elif field is not None:
            bound += _json_bytes(field)
    return bound


def _described(value: Mapping[str, Any]) -> int:
    """Title and context of a document, and the text or the parts that stand in its place."""
    source = value.get("source")
    inline = source if isinstance(source, dict) and source.get("type") in ("text", "content") else None
    fields: Iterable[Any] = (value.get("title"), value.get("context"), inline)
    return PART_OVERHEAD + sum(_json_bytes(field) for field in fields if field is not None)


def output_bound(content: Mapping[str, Any], dialect: Dialect, model_max: int | None, n: int, *, assumed: int) -> int:
    """The most output tokens a provider can bill for: what the request allows, else the model's maximum, else
    `assumed`; for each of `n` answers."""
    for name in _OUTPUT_LIMITS[dialect]:
        stated = content.get(name)
        if isinstance(stated, int) and not isinstance(stated, bool) and stated > 0:
            return stated * max(n, 1)
    return (assumed if model_max is None else model_max) * max(n, 1)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _json_bytes(value: Any) -> int:
    """At most this many bytes, also where a server writes `\\u00e9` for two of them."""
    text = orjson.dumps(value)
    return len(text) if text.isascii() else 3 * len(text)
