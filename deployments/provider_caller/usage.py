"""Reads token counts as providers of OpenAI's dialect state them."""

from typing import Any

from deployments.protocols import Usage


def read_usage(stated: Any) -> Usage | None:
    """The `usage` object of a completion or chunk, None when it states no counts."""
    if not isinstance(stated, dict):
        return None
    prompt, completion = stated.get("prompt_tokens"), stated.get("completion_tokens")
    if not isinstance(prompt, int) and not isinstance(completion, int):
        return None
    details = stated.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return Usage(input_tokens=_count(prompt), output_tokens=_count(completion), cached_tokens=_count(cached))


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
