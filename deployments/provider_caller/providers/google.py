"""Google Gemini through its OpenAI-compatible endpoint (https://ai.google.dev/gemini-api/docs/openai)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from deployments.protocols import Dialect, Usage
from deployments.provider_caller.providers.base import ONLY_AT_OPENAI, Provider, without
from deployments.provider_caller.usage import UsageReader, count, read_chat_usage

_UNKNOWN_FIELDS = (
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "seed",
    "store",
    "metadata",
    "user",
    "service_tier",
    "prediction",
    "verbosity",
    "web_search_options",
    *ONLY_AT_OPENAI,
)
"""Fields of OpenAI's that the endpoint answers with 400 (`Unknown name`), or that only OpenAI gives a meaning.
Google publishes no list: reported ones, and those that are new at OpenAI."""


class Google(Provider):
    """Its errors come in a list, and a wrong key is a 400."""

    id = "google"
    name = "Google Gemini"
    base_url = "https://generativelanguage.googleapis.com/v1beta/openai"

    def prepare(self, content: Mapping[str, Any], dialect: Dialect, model: str) -> Mapping[str, Any]:
        """Without the fields that it refuses."""
        return without(content, *_UNKNOWN_FIELDS)

    def usage_reader(self, dialect: Dialect) -> UsageReader:
        """Counts thinking, too."""
        return read_google_usage

    def refuses_key(self, status: int, error: Mapping[str, Any]) -> bool:
        """Also where it says so with status 400."""
        return super().refuses_key(status, error) or (status == 400 and _invalid_key(error))


def read_google_usage(stated: Any) -> Usage | None:
    """Tokens of thinking are billed as output, and stand in `total_tokens` alone."""
    usage = read_chat_usage(stated)
    if usage is None:
        return None
    beyond_the_prompt = count(stated.get("total_tokens")) - usage.input_tokens
    return replace(usage, output_tokens=max(usage.output_tokens, beyond_the_prompt))


def _invalid_key(error: Mapping[str, Any]) -> bool:
    details = error.get("details")
    reasons = [item.get("reason") for item in details if isinstance(item, dict)] if isinstance(details, list) else []
    return "API_KEY_INVALID" in reasons or "API key not valid" in str(error.get("message") or "")


PROVIDER = Google()
