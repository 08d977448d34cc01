"""Anthropic's Messages API. Its chat-completions endpoint is meant for trying it out and is not used."""

import re
from collections.abc import Mapping
from typing import Any

from deployments.protocols import Dialect
from deployments.provider_caller.providers.base import Provider, has_tool, without

VERSION = "2023-06-01"

_NO_SAMPLING = re.compile(r"claude-(?:opus-4-[7-9]|(?:opus|sonnet|haiku)-[5-9]|fable|mythos)")
"""Models that answer sampling settings with 400 (https://platform.claude.com/docs/en/models, migration guides)."""


class Anthropic(Provider):
    """https://platform.claude.com/docs/en/api/messages"""

    id = "anthropic"
    name = "Anthropic"
    base_url = "https://api.anthropic.com/v1"
    dialects = ("anthropic_messages",)

    def headers(self, key: str | None, dialect: Dialect) -> dict[str, str]:
        """Its own header for the key, and the version of the API."""
        headers = {"anthropic-version": VERSION}
        if key:
            headers["x-api-key"] = key
        return headers

    def prepare(self, content: Mapping[str, Any], dialect: Dialect, model: str) -> Mapping[str, Any]:
        """Without sampling settings where the model refuses them."""
        if _NO_SAMPLING.match(model):
            return without(content, "temperature", "top_p", "top_k")
        return content

    def surcharge(self, content: Mapping[str, Any], dialect: Dialect) -> str | None:
        """Fast mode, a place of computation, tools that it runs."""
        if dialect not in self.dialects:
            return None
        if content.get("speed") not in (None, "standard"):
            return "speed"
        if content.get("inference_geo") not in (None, "global"):
            return "inference_geo"
        return "tools" if has_tool(content, "web_search_", "code_execution_") else None


PROVIDER = Anthropic()
