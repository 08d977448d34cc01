"""Which JSON schemas OpenAI guarantees: every object closed, and all of its properties required
(https://developers.openai.com/api/docs/guides/structured-outputs). Anthropic guarantees more, so its callers' schemas
are asked for strictly only where OpenAI takes them so."""

from typing import Any


def is_strict(schema: dict[str, Any]) -> bool:
    """Whether OpenAI takes the schema with `strict`."""
    waiting: list[Any] = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        if not isinstance(part, dict):
            continue
        properties = part.get("properties")
        if part.get("type") == "object" or isinstance(properties, dict):
            names = set(properties) if isinstance(properties, dict) else set()
            required = part.get("required") or []
            closed = part.get("additionalProperties") is False
            if not closed or not isinstance(required, list) or any(name not in required for name in names):
                return False
        waiting += part.values()
    return True
