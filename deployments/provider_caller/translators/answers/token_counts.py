"""Token counts of an answer, as each dialect states them.

Chat and responses count what is read from and written to the provider's cache among the input; Anthropic counts it
beside it. Here `input` is always the whole prompt.
"""

from dataclasses import dataclass
from typing import Any

from deployments.provider_caller.translators.fields import Fields


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """`cached` and `cache_write` are part of `input`, `reasoning` is part of `output`."""

    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0


def from_chat(stated: Fields | None) -> TokenCounts | None:
    """Of the `usage` of a chat completion or chunk."""
    if stated is None:
        return None
    prompt, completion = stated.find_object("prompt_tokens_details"), stated.find_object("completion_tokens_details")
    return TokenCounts(
        input=stated.count("prompt_tokens"),
        output=stated.count("completion_tokens"),
        cached=prompt.count("cached_tokens") if prompt else 0,
        cache_write=prompt.count("cache_write_tokens") if prompt else 0,
        reasoning=completion.count("reasoning_tokens") if completion else 0,
    )


def from_responses(stated: Fields | None) -> TokenCounts | None:
    """Of the `usage` of a response."""
    if stated is None:
        return None
    read, written = stated.find_object("input_tokens_details"), stated.find_object("output_tokens_details")
    return TokenCounts(
        input=stated.count("input_tokens"),
        output=stated.count("output_tokens"),
        cached=read.count("cached_tokens") if read else 0,
        cache_write=read.count("cache_write_tokens") if read else 0,
        reasoning=written.count("reasoning_tokens") if written else 0,
    )


def from_messages(stated: Fields | None, before: TokenCounts | None = None) -> TokenCounts | None:
    """Of the `usage` of a message. before: what an earlier event stated; totals that are missing now still hold."""
    if stated is None:
        return before
    before = before or TokenCounts()
    cached = stated.count("cache_read_input_tokens") if stated.has("cache_read_input_tokens") else before.cached
    written = (
        stated.count("cache_creation_input_tokens") if stated.has("cache_creation_input_tokens") else before.cache_write
    )
    uncached = (
        stated.count("input_tokens")
        if stated.has("input_tokens")
        else before.input - before.cached - before.cache_write
    )
    details = stated.find_object("output_tokens_details")
    return TokenCounts(
        input=uncached + cached + written,
        output=stated.count("output_tokens") if stated.has("output_tokens") else before.output,
        cached=cached,
        cache_write=written,
        reasoning=details.count("thinking_tokens") if details else before.reasoning,
    )


def to_chat(counts: TokenCounts) -> dict[str, Any]:
    """`usage` of a chat completion."""
    return {
        "prompt_tokens": counts.input,
        "completion_tokens": counts.output,
        "total_tokens": counts.input + counts.output,
        "prompt_tokens_details": {"cached_tokens": counts.cached, "cache_write_tokens": counts.cache_write},
        "completion_tokens_details": {"reasoning_tokens": counts.reasoning},
    }


def to_responses(counts: TokenCounts) -> dict[str, Any]:
    """`usage` of a response."""
    return {
        "input_tokens": counts.input,
        "input_tokens_details": {"cached_tokens": counts.cached, "cache_write_tokens": counts.cache_write},
        "output_tokens": counts.output,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning},
        "total_tokens": counts.input + counts.output,
    }


def to_messages(counts: TokenCounts) -> dict[str, Any]:
    """`usage` of a message. A provider's contradiction (more cached than read) does not become a negative count."""
    return {
        "input_tokens": max(0, counts.input - counts.cached - counts.cache_write),
        "cache_creation_input_tokens": counts.cache_write,
        "cache_read_input_tokens": counts.cached,
        "output_tokens": counts.output,
        "output_tokens_details": {"thinking_tokens": counts.reasoning},
    }
