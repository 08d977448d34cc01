"""Reads the JSON payloads of server-sent events."""

from collections.abc import Iterator
from typing import Any

import orjson

from deployments.provider_caller.sse import parse_events


def events_of(chunk: bytes) -> Iterator[dict[str, Any]]:
    """The JSON payloads of whole server-sent events; comments and `[DONE]` are left out."""
    return (orjson.loads(event.data) for event in parse_events(chunk) if event.data.startswith(b"{"))
