"""The exact cache's key: a hash of all that shapes an answer. What is left out of it would be answered wrongly."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from deployments.protocols import CacheKey

KEY_FORMAT = 1
"""Changes with the meaning of the fields below, so that entries of another meaning are not found."""


def answer_key(
    *,
    tenant: str,
    model: str,
    policy_version: str | None,
    messages: Sequence[Any],
    sampling: Mapping[str, Any],
    tools: Any = None,
    response_format: Any = None,
    prompt_version: str | None = None,
    collection: str | None = None,
    collection_revision: str | None = None,
    retrieval: Mapping[str, Any] | None = None,
    user: str | None = None,
) -> CacheKey:
    """The key of a request. Values are as JSON has them; the order of an object's keys does not matter.

    model: as requested, `auto` included; policy_version: of the routing policy, None where a model was named.
    sampling: every other request field that shapes the text (temperature, top_p, seed, stop, max_tokens, n, ...).
    tools: definitions and tool choice. collection_revision: id and version, None where nothing is retrieved; retrieval:
    filters and k. user: only where the prompt is personal. Raises TypeError for what is no JSON.
    """
    content = [
        KEY_FORMAT,
        tenant,
        model,
        policy_version,
        messages,
        sampling,
        tools,
        response_format,
        prompt_version,
        collection,
        collection_revision,
        retrieval,
        user,
    ]
    canonical = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    return CacheKey(tenant=tenant, digest=hashlib.sha256(canonical).hexdigest())
