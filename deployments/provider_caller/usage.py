"""Reads token counts as each dialect states them, into one meaning: `input_tokens` is the whole prompt.

OpenAI's two dialects count cached and cache-written tokens in the prompt; Anthropic's counts them beside it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from deployments.protocols import Dialect, Usage

UsageReader = Callable[[Any], Usage | None]
"""Takes the `usage` object of an answer; None where it states no counts."""


def read_chat_usage(stated: Any) -> Usage | None:
    """Of chat completions: `prompt_tokens`, `completion_tokens`."""
    return _read(stated, "prompt_tokens", "completion_tokens", "prompt_tokens_details")


def read_responses_usage(stated: Any) -> Usage | None:
    """Of responses: `input_tokens`, `output_tokens`."""
    return _read(stated, "input_tokens", "output_tokens", "input_tokens_details")


def read_messages_usage(stated: Any) -> Usage | None:
    """Of Anthropic's messages, whose `input_tokens` leave out what was read from and written to the cache."""
    if not isinstance(stated, dict):
        return None
    fresh, output = stated.get("input_tokens"), stated.get("output_tokens")
    if not isinstance(fresh, int) and not isinstance(output, int):
        return None
    read, written = count(stated.get("cache_read_input_tokens")), count(stated.get("cache_creation_input_tokens"))
    lasting = stated.get("cache_creation")
    hour = count(lasting.get("ephemeral_1h_input_tokens")) if isinstance(lasting, dict) else 0
    return Usage(
        input_tokens=count(fresh) + read + written,
        output_tokens=count(output),
        cached_tokens=read,
        cache_write_tokens=written,
        cache_write_long_tokens=min(hour, written),
    )


USAGE_READERS: Mapping[Dialect, UsageReader] = {
    "openai_chat": read_chat_usage,
    "openai_responses": read_responses_usage,
    "anthropic_messages": read_messages_usage,
}


def count(value: Any) -> int:
    """A stated number of tokens; 0 for anything that is none."""
    return value if isinstance(value, int) and value > 0 else 0


def _read(stated: Any, prompt_field: str, output_field: str, details_field: str) -> Usage | None:
    if not isinstance(stated, dict):
        return None
    prompt, output = stated.get(prompt_field), stated.get(output_field)
    if not isinstance(prompt, int) and not isinstance(output, int):
        return None
    details = stated.get(details_field)
    if not isinstance(details, dict):
        details = {}
    cached, written = count(details.get("cached_tokens")), count(details.get("cache_write_tokens"))
    return Usage(count(prompt), count(output), cached_tokens=cached, cache_write_tokens=written)
