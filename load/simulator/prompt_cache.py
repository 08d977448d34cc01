"""The providers' prompt caches: a long prefix that was seen before is cheaper."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from load.simulator.prompt import Prompt
from load.simulator.tokens import TOKEN_BYTES, tokens_of

SHORTEST = 1024
"""Tokens; a shorter prefix is never cached."""
_STEP = 128
_KEPT = 50_000


@dataclass(frozen=True, slots=True)
class InputTokens:
    """`total` is the whole prompt; `cached` was read from the cache and `written` written to it, for `ttl`."""

    total: int
    cached: int = 0
    written: int = 0
    ttl: str = "5m"


class PromptCache:
    """Prefixes by provider and model. One cache for all keys, as if one organization called."""

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def clear(self) -> None:
        """Forget everything."""
        self._seen.clear()

    def implicit(self, scope: str, prompt: Prompt) -> InputTokens:
        """As OpenAI does it: the longest prefix seen before, in steps of 128 tokens from 1,024 on, costs nothing to
        write."""
        total = prompt.tokens
        if total < SHORTEST:
            return InputTokens(total)
        text = "\n".join(prompt.texts).encode()
        cached = 0
        digest = hashlib.blake2b(scope.encode(), digest_size=16)
        position = 0
        for boundary in range(SHORTEST, total + 1, _STEP):
            end = boundary * TOKEN_BYTES
            if end > len(text):
                break
            digest.update(text[position:end])
            position = end
            if self._remember(digest.digest()):
                cached = boundary
        return InputTokens(total, min(cached, total))

    def explicit(self, scope: str, prompt: Prompt) -> InputTokens:
        """As Anthropic does it: up to the marks of the request; what is new up to the last one is written."""
        total = prompt.tokens
        if not prompt.breakpoints or total < SHORTEST:
            return InputTokens(total)
        last, ttl = prompt.breakpoints[-1]
        marks = {count for count, _ in prompt.breakpoints}
        digest = hashlib.blake2b(scope.encode(), digest_size=16)
        size = read = end = 0
        for count, text in enumerate(prompt.texts[:last], start=1):
            data = text.encode()
            digest.update(b"%d:" % len(data) + data)
            size += len(data)
            if tokens_of(size) < SHORTEST:
                continue
            end = tokens_of(size)
            key = digest.digest()
            if key in self._seen:
                read = end
            if count in marks:
                self._remember(key)
        return InputTokens(total, read, max(0, end - read), ttl)

    def _remember(self, key: bytes) -> bool:
        """Whether it was known already."""
        known = key in self._seen
        self._seen[key] = None
        self._seen.move_to_end(key)
        if len(self._seen) > _KEPT:
            self._seen.popitem(last=False)
        return known
