"""Groq: OpenAI's dialects with a few fields less (https://console.groq.com/docs/openai)."""

from collections.abc import Mapping
from typing import Any

from deployments.protocols import Dialect
from deployments.provider_caller.providers.base import ONLY_AT_OPENAI, Provider, has_tool, without

_NOT_IN_CHAT = (
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "modalities",
    "prediction",
    "verbosity",
    "web_search_options",
    *ONLY_AT_OPENAI,
)
_NOT_IN_RESPONSES = ("include", *ONLY_AT_OPENAI)
_STANDARD_TIERS = (None, "auto", "default", "on_demand", "flex")
"""Its `flex` costs what `on_demand` does."""


class Groq(Provider):
    """Answers fields that it does not know with 400, and the names of messages."""

    id = "groq"
    name = "Groq"
    base_url = "https://api.groq.com/openai/v1"
    dialects = ("openai_chat", "openai_responses")

    def prepare(self, content: Mapping[str, Any], dialect: Dialect, model: str) -> Mapping[str, Any]:
        """Without the fields that it refuses."""
        if dialect != "openai_chat":
            return without(content, *_NOT_IN_RESPONSES)
        content = without(content, *_NOT_IN_CHAT)
        messages = content.get("messages")
        if isinstance(messages, list) and any(isinstance(message, dict) and "name" in message for message in messages):
            named = [without(message, "name") if isinstance(message, dict) else message for message in messages]
            content = {**content, "messages": named}
        return content

    def surcharge(self, content: Mapping[str, Any], dialect: Dialect) -> str | None:
        """Tools that it runs, tiers by contract."""
        if dialect not in self.dialects:
            return None
        if content.get("service_tier") not in _STANDARD_TIERS:
            return "service_tier"
        return "tools" if has_tool(content, "browser_search", "code_interpreter") else None

    def too_long(self, status: int, error: Mapping[str, Any]) -> bool:
        """Also a prompt with more tokens than the account may send in a minute: it will never fit (status 413)."""
        return status == 413 or super().too_long(status, error)


PROVIDER = Groq()
