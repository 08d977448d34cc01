"""The extractive provider's answers in the form of OpenAI chat completions and their chunks.

Both carry one object more, `penstock: {"answered": bool, "citations": [{"passage": n, "text": "..."}]}`: the completion
at its top level, the stream in the chunk that states the finish reason.
"""

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from deployments.protocols import Passage, Usage
from deployments.provider_caller.catalogue import LOCAL_MODEL
from deployments.provider_caller.local import PASSAGES, ExtractiveAnswer
from kit.errors import UnprocessableError
from kit.ids import uuid7

DONE = b"data: [DONE]\n\n"

_TOKEN = re.compile(r"\w+|[^\w\s]")


def refuse_unsupported(body: Mapping[str, Any], passages: tuple[Passage, ...]) -> None:
    """Raise UnprocessableError, naming the field, for what an extractive answer cannot do."""
    if body.get("tools") or body.get("functions"):
        raise _unprocessable("tools", "It cannot call tools", "leave `tools` out")
    response_format = body.get("response_format")
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if kind not in (None, "text"):
        raise _unprocessable("response_format", f"It cannot answer as {kind}", "ask for plain text")
    if body.get("n") not in (None, 1):
        raise _unprocessable("n", "It has one answer to a question", "leave `n` out")
    if not passages:
        raise _unprocessable("model", "This request has no passages", "name a collection, as in `local@COLLECTION`")


def count_usage(question: str, passages: tuple[Passage, ...], text: str) -> Usage:
    """Words and punctuation marks read and written. The local provider bills nothing; the counts show the size."""
    read = _tokens(question) + sum(_tokens(passage.text) for passage in passages[:PASSAGES])
    return Usage(input_tokens=read, output_tokens=_tokens(text), cost=0)


def completion(answer: ExtractiveAnswer, usage: Usage) -> bytes:
    """A whole chat completion, JSON."""
    message = {"role": "assistant", "content": answer.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return orjson.dumps(
        _head("chat.completion") | {"choices": [choice], "usage": _stated(usage), "penstock": grounds(answer)}
    )


def chunks(answer: ExtractiveAnswer, usage: Usage, *, include_usage: bool) -> Iterator[bytes]:
    """The same answer as server-sent events: a quoted sentence each, the finish, the usage if asked for, `[DONE]`."""
    head = _head("chat.completion.chunk")
    for position, quote in enumerate(_quotes(answer.text)):
        delta = {"role": "assistant", "content": quote} if position == 0 else {"content": quote}
        yield _event(head | {"choices": [_choice(delta, None)]})
    yield _event(head | {"choices": [_choice({}, "stop")], "penstock": grounds(answer)})
    if include_usage:
        yield _event(head | {"choices": [], "usage": _stated(usage)})
    yield DONE


def _head(kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid7().hex}", "object": kind, "created": int(time.time()), "model": LOCAL_MODEL}


def _choice(delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def _stated(usage: Usage) -> dict[str, int]:
    total = usage.input_tokens + usage.output_tokens
    return {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens, "total_tokens": total}


def grounds(answer: ExtractiveAnswer) -> dict[str, Any]:
    """The object `penstock` of an answer."""
    citations = [{"passage": quote.passage, "text": quote.text} for quote in answer.quotes]
    return {"answered": answer.answered, "citations": citations}


def _quotes(text: str) -> list[str]:
    """The text in pieces that join to exactly the text: each quoted sentence together with its source."""
    return re.split(r"(?=\n\n)", text)


def _tokens(text: str) -> int:
    return len(_TOKEN.findall(text))


def _unprocessable(field: str, reason: str, remedy: str) -> UnprocessableError:
    message = f"The `local` provider answers by quoting passages. {reason}: {remedy}, or choose another model."
    return UnprocessableError(message, details={field: [reason]}, should_retry=False)
