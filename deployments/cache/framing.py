"""An answer as bytes in Redis: a version byte, then zlib over a length, the metadata as JSON, and the body."""

import zlib

import orjson

from deployments.protocols import CachedAnswer

VERSION = b"\x01"
_LENGTH_BYTES = 4
_LEVEL = 1
"""zlib's fastest: answers are read far more often than the memory they take matters."""


def encode(answer: CachedAnswer, *, max_bytes: int) -> bytes | None:
    """The bytes to store; None where body and metadata together are larger than max_bytes.

    Raises TypeError for metadata that is no JSON.
    """
    metadata = orjson.dumps(dict(answer.metadata))
    if len(metadata) + len(answer.body) > max_bytes:
        return None
    return VERSION + zlib.compress(len(metadata).to_bytes(_LENGTH_BYTES, "big") + metadata + answer.body, _LEVEL)


def decode(stored: bytes, *, max_bytes: int) -> CachedAnswer | None:
    """What was stored; None for bytes of another version, damaged ones, and those that hold more than max_bytes."""
    if not stored.startswith(VERSION):
        return None
    try:
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(stored[len(VERSION) :], max_bytes + _LENGTH_BYTES)
        if not unpacker.eof:
            return None
        start = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "big")
        metadata = orjson.loads(content[_LENGTH_BYTES:start])
    except (zlib.error, orjson.JSONDecodeError):
        return None
    return CachedAnswer(content[start:], metadata) if isinstance(metadata, dict) else None
