"""The `response` object around the output: what a caller of OpenAI's responses asked for, repeated as OpenAI does."""

from collections.abc import Mapping
from typing import Any

_TEMPLATE: dict[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "store": False,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
_NEVER = frozenset({"background", "previous_response_id", "store", "truncation"})
"""What is not done, whatever was asked for: nothing is stored, nothing runs in the background, nothing is cut off."""


def new_response(id: str, created: int, model: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """A response in progress, without output."""
    asked = {name: request[name] for name in _TEMPLATE if name not in _NEVER and request.get(name) is not None}
    text = asked.get("text")
    if isinstance(text, dict):
        asked["text"] = {"format": {"type": "text"}, **text}
    return {
        "id": id,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "usage": None,
        **_TEMPLATE,
        **asked,
    }
