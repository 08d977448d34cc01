"""OpenAI: chat completions and responses.

What its reasoning models refuse in chat completions, as of November 2026: `max_tokens` (the field is
`max_completion_tokens`, which every model takes), sampling settings unless their effort is `none`, and function tools
together with reasoning, which are for the responses API.
"""

import re
from collections.abc import Mapping
from typing import Any

from deployments.protocols import Dialect
from deployments.provider_caller.providers.base import Provider, has_tool, without

_REASONS = re.compile(r"o\d|gpt-5(?!\.[1-4]|-chat)|gpt-[6-9]")
_TOOLS_NEED_RESPONSES = re.compile(r"gpt-5\.[4-9]|gpt-[6-9]")
_STANDARD_TIERS = (None, "auto", "default")
_CHARGED_TOOLS = ("web_search", "file_search", "code_interpreter", "image_generation", "shell")
"""Types of tools, or their beginnings, that OpenAI runs and charges beside the tokens."""
_SAMPLING = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
    "logit_bias",
)


class OpenAI(Provider):
    """https://developers.openai.com/api/reference"""

    id = "openai"
    name = "OpenAI"
    base_url = "https://api.openai.com/v1"
    dialects = ("openai_chat", "openai_responses")

    def dialect(self, caller: Dialect, content: Mapping[str, Any], model: str) -> Dialect:
        """Chat completions with tools go to the responses API where the model reasons before it calls one."""
        with_tools = caller == "openai_chat" and content.get("tools") and content.get("reasoning_effort") != "none"
        if with_tools and _TOOLS_NEED_RESPONSES.match(model):
            return "openai_responses"
        return super().dialect(caller, content, model)

    def prepare(self, content: Mapping[str, Any], dialect: Dialect, model: str) -> Mapping[str, Any]:
        """Renames `max_tokens`; leaves sampling settings out where the model refuses them."""
        if dialect == "openai_chat" and "max_tokens" in content:
            limit = content["max_tokens"]
            content = {"max_completion_tokens": limit, **without(content, "max_tokens")}
        if _REASONS.match(model) and _effort(content) != "none":
            content = without(content, *_SAMPLING)
        return content

    def surcharge(self, content: Mapping[str, Any], dialect: Dialect) -> str | None:
        """Flex and priority, hosted tools, searches, speech."""
        if dialect not in self.dialects:
            return None
        if content.get("service_tier") not in _STANDARD_TIERS:
            return "service_tier"
        if has_tool(content, *_CHARGED_TOOLS):
            return "tools"
        if content.get("web_search_options") is not None:
            return "web_search_options"
        return "audio" if content.get("audio") is not None else None


def _effort(content: Mapping[str, Any]) -> Any:
    reasoning = content.get("reasoning")
    return reasoning.get("effort") if isinstance(reasoning, dict) else content.get("reasoning_effort")


PROVIDER = OpenAI()
