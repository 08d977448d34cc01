"""Plain conversations: requests that differ in their texts alone, as those of a benchmark do, are prepared once."""

from collections.abc import Hashable
from typing import Any

from load.simulator.faults import SUFFIX
from load.simulator.generation import variant_of
from load.simulator.prompt_cache import SHORTEST
from load.simulator.tokens import TOKEN_BYTES

_FIELDS = frozenset(
    {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature"}
)
_LONGEST = (SHORTEST - 1) * TOKEN_BYTES


def plain_key(body: dict[str, Any]) -> Hashable | None:
    """All that the answer to a plain conversation depends on; None for any other request.

    Plain: messages of a role and an ASCII text, without marks, too short for a prompt cache, and no other fields than
    the usual ones.
    """
    messages = body.get("messages")
    if type(messages) is not list or not body.keys() <= _FIELDS or SUFFIX in str(body.get("model")):
        return None
    texts, roles = [], []
    for message in messages:
        if type(message) is not dict or len(message) != 2:
            return None
        text, role = message.get("content"), message.get("role")
        if type(text) is not str or type(role) is not str:
            return None
        texts.append(text)
        roles.append(role)
    whole = "\n".join(texts)
    if not whole.isascii() or len(whole) > _LONGEST or "[[" in whole:
        return None
    size = len(whole) - len(texts) + 1
    return (*roles, -(-size // TOKEN_BYTES), variant_of(whole, str(body.get("model"))), *_scalars(body))


def _scalars(body: dict[str, Any]) -> list[Hashable]:
    """The other fields; with their types, since True equals 1."""
    found: list[Hashable] = []
    for name, value in body.items():
        if name == "messages":
            continue
        if type(value) is dict:
            found.append((name, *((key, type(item), str(item)) for key, item in value.items())))
        else:
            found.append((name, type(value), str(value)))
    return found
