"""The bytes that the mock upstream answers with: valid OpenAI JSON and server-sent events."""

import base64
import functools
import hashlib
import math
import struct
from typing import Any

import orjson

MODEL = "mock-model"
DIMENSION = 384
_CREATED = 1_700_000_000
_NO_SERIAL = b"0" * 12
_WORDS = ("water", "turns", "the", "wheel", "while", "the", "gate", "stays", "open")


class ChatReplies:
    """Chat completions of a fixed number of tokens. Only the id, the model and the prompt's size differ."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.words = [_WORDS[i % len(_WORDS)] + " " for i in range(tokens)]
        self._content = "".join(self.words)
        self._template = functools.lru_cache(maxsize=256)(self._render)

    def completion(self, serial: int, model: str, prompt_tokens: int) -> bytes:
        """A whole `chat.completion`."""
        return orjson.dumps(
            {
                "id": _identifier(serial),
                "object": "chat.completion",
                "created": _CREATED,
                "model": model,
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": self._content},
                        "logprobs": None,
                        "finish_reason": "stop",
                    }
                ],
                "usage": self._usage(prompt_tokens),
            }
        )

    def events(self, serial: int, model: str, prompt_tokens: int, *, include_usage: bool) -> list[bytes]:
        """A stream: the role, one event a token, the finish reason, the usage if asked for, `[DONE]`."""
        template = self._template(model, prompt_tokens if include_usage else None)
        own = b"%012d" % serial
        return [event.replace(_NO_SERIAL, own, 1) for event in template]

    def _render(self, model: str, prompt_tokens: int | None) -> tuple[bytes, ...]:
        """The events of a stream whose id is 0; the usage among them unless `prompt_tokens` is None."""
        head: dict[str, Any] = {
            "id": _identifier(0),
            "object": "chat.completion.chunk",
            "created": _CREATED,
            "model": model,
        }
        deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": word} for word in self.words]
        chunks = [head | {"choices": [_choice(delta, None)]} for delta in deltas]
        chunks.append(head | {"choices": [_choice({}, "stop")]})
        if prompt_tokens is not None:
            chunks.append(head | {"choices": [], "usage": self._usage(prompt_tokens)})
        return (*(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks), b"data: [DONE]\n\n")

    def _usage(self, prompt_tokens: int) -> dict[str, int]:
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": self.tokens,
            "total_tokens": prompt_tokens + self.tokens,
        }


def models() -> bytes:
    """The list of GET /v1/models."""
    model = {"id": MODEL, "object": "model", "created": _CREATED, "owned_by": "mock"}
    return orjson.dumps({"object": "list", "data": [model]})


def embeddings(model: str, texts: list[str], *, as_base64: bool) -> bytes:
    """One unit vector a text, always the same one for the same text."""
    data = []
    for index, text in enumerate(texts):
        vector = _unit_vector(text)
        value: Any = base64.b64encode(struct.pack(f"<{DIMENSION}f", *vector)).decode() if as_base64 else vector
        data.append({"object": "embedding", "index": index, "embedding": value})
    tokens = sum(len(text.split()) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return orjson.dumps({"object": "list", "data": data, "model": model, "usage": usage})


def error(message: str, kind: str = "invalid_request_error") -> bytes:
    """OpenAI's error shape."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": None}})


def prompt_size(messages: list[Any]) -> int:
    """Words of all messages: what the mock calls prompt tokens."""
    contents = [message.get("content") for message in messages if isinstance(message, dict)]
    return sum(len(content.split()) for content in contents if isinstance(content, str))


def _identifier(serial: int) -> str:
    return f"chatcmpl-mock-{serial:012d}"


def _choice(delta: dict[str, str], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _unit_vector(text: str) -> list[float]:
    raw = hashlib.shake_256(text.encode()).digest(DIMENSION)
    centred = [byte - 127.5 for byte in raw]
    length = math.sqrt(sum(value * value for value in centred))
    return [value / length for value in centred]
