"""How many tokens an answer has where the provider did not say: four bytes of UTF-8 for a token.

What counts is what was delivered: text, reasoning, the arguments of tool calls. Bytes are added up first and divided
once. Requests are estimated by the same rule in `money/estimate.py`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from deployments.protocols import Dialect, Usage
from deployments.provider_caller.money.estimate import BYTES_PER_TOKEN, prompt_tokens
from deployments.provider_caller.sse import parse_events

_FOLD = 256 * 1024
"""Bytes of a stream that are kept before they are counted."""


def tokens_of(size: int) -> int:
    """Tokens for a number of bytes, rounded up."""
    return -(-size // BYTES_PER_TOKEN)


def asked(content: Mapping[str, Any], dialect: Dialect) -> Usage:
    """What a request uses whose answer nobody knows."""
    return Usage(prompt_tokens(content, dialect), 0, estimated=True)


def output_tokens(content: Mapping[str, Any], dialect: Dialect) -> int:
    """Of a whole answer."""
    return tokens_of(_ANSWERS[dialect](content))


class Delivered:
    """Adds up what a stream has delivered. Costs next to nothing until somebody asks."""

    def __init__(self, dialect: Dialect) -> None:
        self._read = _EVENTS[dialect]
        self._pieces: list[bytes] = []
        self._kept = 0
        self._counted = 0

    def add(self, events: bytes) -> None:
        """Whole events that have come."""
        self._pieces.append(events)
        self._kept += len(events)
        if self._kept > _FOLD:
            self._count()

    @property
    def tokens(self) -> int:
        """What has been delivered by now."""
        self._count()
        return tokens_of(self._counted)

    def _count(self) -> None:
        pieces, self._pieces, self._kept = self._pieces, [], 0
        for piece in pieces:
            for event in parse_events(piece):
                try:
                    data = orjson.loads(event.data)
                except orjson.JSONDecodeError:
                    continue
                if isinstance(data, dict):
                    self._counted += self._read(data)


def _strings(value: Any, *fields: str) -> int:
    """Bytes of those fields of an object that are strings."""
    if not isinstance(value, dict):
        return 0
    texts = [text for field in fields if isinstance(text := value.get(field), str)]
    return sum(len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")) for text in texts)


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _chat_message(message: Any) -> int:
    """A message of a completion, or the delta of a chunk."""
    if not isinstance(message, dict):
        return 0
    calls = [call.get("function") for call in _objects(message.get("tool_calls"))]
    arguments = sum(_strings(call, "arguments") for call in (*calls, message.get("function_call")))
    # Servers name the text of reasoning in one of two ways; one that sends both sends it twice.
    reasoning = _strings(message, "reasoning") or _strings(message, "reasoning_content")
    return _strings(message, "content", "refusal") + reasoning + arguments


def _chat_answer(content: Mapping[str, Any]) -> int:
    return sum(_chat_message(choice.get("message")) for choice in _objects(content.get("choices")))


def _chat_event(chunk: Mapping[str, Any]) -> int:
    return sum(_chat_message(choice.get("delta")) for choice in _objects(chunk.get("choices")))


def _messages_answer(content: Mapping[str, Any]) -> int:
    total = 0
    for block in _objects(content.get("content")):
        total += _strings(block, "text", "thinking")
        if block.get("type") == "tool_use":
            total += len(orjson.dumps(block.get("input")))
    return total


def _messages_event(event: Mapping[str, Any]) -> int:
    if event.get("type") == "content_block_start":
        return _strings(event.get("content_block"), "text", "thinking")
    if event.get("type") != "content_block_delta":
        return 0
    return _strings(event.get("delta"), "text", "thinking", "partial_json")


def _responses_answer(content: Mapping[str, Any]) -> int:
    total = 0
    for item in _objects(content.get("output")):
        parts = (*_objects(item.get("content")), *_objects(item.get("summary")))
        total += _strings(item, "arguments", "input") + sum(_strings(part, "text", "refusal") for part in parts)
    return total


_RESPONSES_DELTAS = frozenset(
    {
        "response.output_text.delta",
        "response.refusal.delta",
        "response.reasoning_text.delta",
        "response.reasoning_summary_text.delta",
        "response.function_call_arguments.delta",
        "response.custom_tool_call_input.delta",
    }
)


def _responses_event(event: Mapping[str, Any]) -> int:
    if event.get("type") == "response.output_item.added":
        return _strings(event.get("item"), "arguments")  # Perplexity sends them whole, others in deltas.
    return _strings(event, "delta") if event.get("type") in _RESPONSES_DELTAS else 0


_Counter = Callable[[Mapping[str, Any]], int]
_ANSWERS: Mapping[Dialect, _Counter] = {
    "openai_chat": _chat_answer,
    "openai_responses": _responses_answer,
    "anthropic_messages": _messages_answer,
}
_EVENTS: Mapping[Dialect, _Counter] = {
    "openai_chat": _chat_event,
    "openai_responses": _responses_event,
    "anthropic_messages": _messages_event,
}
