"""Ids of answers in the form of each dialect, made from the provider's own: logs of both sides can be joined."""

from typing import Literal

from kit.ids import uuid7

Prefix = Literal["chatcmpl-", "msg_", "resp_", "rs_", "fc_", "ctc_"]

_KNOWN = ("chatcmpl-", "msg_", "resp_")


def core(provider_id: str) -> str:
    """What stays when the dialect's prefix is taken off; a new one where the provider gave none."""
    for prefix in _KNOWN:
        provider_id = provider_id.removeprefix(prefix)
    return provider_id or uuid7().hex


def part_id(prefix: Prefix, answer: str, position: int) -> str:
    """The id of one part of an answer."""
    return f"{prefix}{answer}_{position}"
