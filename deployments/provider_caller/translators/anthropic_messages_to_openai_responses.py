"""Requests of Anthropic's messages as requests of OpenAI's responses, by way of chat completions."""

from collections.abc import Mapping
from typing import Any

from deployments.provider_caller.translators import anthropic_messages_to_openai_chat as to_chat
from deployments.provider_caller.translators import openai_chat_to_openai_responses as to_responses
from deployments.provider_caller.translators.requests.renamed import renamed

_NAMES = {
    "stop": "stop_sequences",
    "max_completion_tokens": "max_tokens",
    "reasoning_effort": "output_config.effort",
    "response_format": "output_config.format",
}


def request(content: Mapping[str, Any], *, model: str) -> dict[str, Any]:
    """Raises ValidationError or UnprocessableError, naming the field."""
    chat = to_chat.extended_request(content, model=model)
    with renamed(_NAMES):
        return to_responses.request(chat, model=model)
