"""Requests of OpenAI's responses as requests of Anthropic's messages, by way of chat completions."""

from collections.abc import Mapping
from typing import Any

from deployments.provider_caller.translators import openai_chat_to_anthropic_messages as to_messages
from deployments.provider_caller.translators import openai_responses_to_openai_chat as to_chat
from deployments.provider_caller.translators.requests.renamed import renamed

_NAMES = {
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
}


def request(
    content: Mapping[str, Any], *, model: str, default_max_tokens: int = to_messages.DEFAULT_MAX_TOKENS
) -> dict[str, Any]:
    """Raises ValidationError or UnprocessableError, naming the field."""
    chat = to_chat.extended_request(content, model=model)
    with renamed(_NAMES):
        return to_messages.request(chat, model=model, default_max_tokens=default_max_tokens)
