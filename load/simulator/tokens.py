"""Counting and making tokens: four bytes of UTF-8 are one token, in prompts and in answers.

Every generated token is four ASCII bytes (`abc `), so that the tokens of an answer are exactly its bytes / 4.
"""

import functools
import random

TOKEN_BYTES = 4
_CONSONANTS = "bcdfghjklmnprstvwz"
_VOWELS = "aeiou"


def tokens_of(size: int) -> int:
    """Tokens of so many bytes, rounded up."""
    return -(-size // TOKEN_BYTES)


@functools.lru_cache(maxsize=4096)
def answer_tokens(seed: int, variant: int, count: int) -> tuple[str, ...]:
    """`count` tokens that depend on `seed` and `variant` alone; a longer answer begins like a shorter one."""
    draw = random.Random(seed << 32 | variant)
    return tuple(draw.choice(_CONSONANTS) + draw.choice(_VOWELS) + draw.choice(_CONSONANTS) + " " for _ in range(count))


def padded(text: str) -> str:
    """An ASCII text with spaces at its end, so that it is a whole number of tokens."""
    return text + " " * (-len(text) % TOKEN_BYTES)


def pieces(text: str) -> tuple[str, ...]:
    """The tokens of an ASCII text; the last one may be shorter."""
    return tuple(text[start : start + TOKEN_BYTES] for start in range(0, len(text), TOKEN_BYTES))
