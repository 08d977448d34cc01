"""Whole answers: whether a body with status 200 is one, and what it used."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from deployments.protocols import Dialect, Usage
from deployments.provider_caller.call import Call, with_usage
from deployments.provider_caller.estimate import asked, output_tokens
from deployments.provider_caller.providers.base import Provider
from deployments.provider_caller.refusals import stated_failure
from kit.errors import UpstreamError

_FIELD: Mapping[Dialect, str] = {
    "openai_chat": "choices",
    "openai_responses": "output",
    "anthropic_messages": "content",
}
"""The list that makes an answer one."""

_ENDED_BADLY = frozenset({"failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Answer:
    """content: the parsed body. usage: as stated, else estimated."""

    content: dict[str, Any]
    usage: Usage


def read_answer(provider: Provider, dialect: Dialect, body: bytes, call: Call) -> Answer:
    """A provider's whole answer to a call; dialect: the answer's.

    Raises UpstreamError for a body that is no answer, with an estimate of what the request used; an error that the body
    states costs nothing.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise with_usage(UpstreamError(f"{provider.name} sent an answer that is not JSON."), _asked(call)) from error
    if isinstance(content, list) and content and isinstance(content[0], dict) and content[0].get("error"):
        content = content[0]
    if isinstance(content, dict):
        if content.get("error") or content.get("status") in _ENDED_BADLY:
            raise stated_failure(provider, content.get("error"))
        if isinstance(content.get(_FIELD[dialect]), list):
            stated = provider.usage_reader(dialect)(content.get("usage"))
            return Answer(content, stated or replace(_asked(call), output_tokens=output_tokens(content, dialect)))
    raise with_usage(UpstreamError(f"{provider.name} sent an answer that is no completion."), _asked(call))


def _asked(call: Call) -> Usage:
    return asked(call.content, call.dialect)
