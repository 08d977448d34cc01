"""Embeddings: one unit vector a text, always the same one for the same text."""

import base64
import hashlib
import math
import struct
from typing import Any

import orjson

from load.simulator.prompt import Prompt

DIMENSION = 384


def read(body: dict[str, Any]) -> Prompt:
    """Every text is input; lists of token numbers count as their digits."""
    given = body["input"]
    items = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
    texts = [item if isinstance(item, str) else " ".join(map(str, item)) for item in items]
    return Prompt(body["model"], texts, last_user=texts[-1])


def answer(body: dict[str, Any], prompt: Prompt) -> bytes:
    """The list of embeddings with its usage."""
    dimensions = body.get("dimensions") or DIMENSION
    as_base64 = body.get("encoding_format") == "base64"
    data = []
    for index, text in enumerate(prompt.texts):
        vector = _unit_vector(text, dimensions)
        value: Any = base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode() if as_base64 else vector
        data.append({"object": "embedding", "index": index, "embedding": value})
    usage = {"prompt_tokens": prompt.tokens, "total_tokens": prompt.tokens}
    return orjson.dumps({"object": "list", "data": data, "model": body["model"], "usage": usage})


def _unit_vector(text: str, dimensions: int) -> list[float]:
    raw = hashlib.shake_256(text.encode()).digest(dimensions)
    centred = [byte - 127.5 for byte in raw]
    length = math.sqrt(sum(value * value for value in centred))
    return [value / length for value in centred]
