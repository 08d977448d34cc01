"""Writes answers as Anthropic's messages and their events."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from deployments.provider_caller.translators.answers.identifiers import core
from deployments.provider_caller.translators.answers.pieces import (
    CUT,
    Began,
    Counted,
    Ended,
    PartBegan,
    PartDelta,
    PartEnded,
    Piece,
    StopReason,
)
from deployments.provider_caller.translators.answers.token_counts import TokenCounts, to_messages
from kit.errors import UpstreamError

_STOP: dict[StopReason, str] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "context_window": "model_context_window_exceeded",
    "pause": "pause_turn",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
}


def write_whole(pieces: Sequence[Piece], request: Mapping[str, Any], clock: Callable[[], float]) -> dict[str, Any]:
    """A whole message."""
    blocks: list[dict[str, Any]] = []
    message: dict[str, Any] = {}
    counts = TokenCounts()
    ended: Ended | None = None
    said = ""
    for piece in pieces:
        match piece:
            case Began():
                message = _message(piece, request)
            case PartBegan():
                said = ""
                blocks.append(_empty_block(piece))
            case PartDelta():
                said += piece.text
            case PartEnded():
                _fill(blocks[-1], said, piece.state)
            case Counted():
                counts = piece.counts
            case Ended():
                ended = piece
    if ended is None:
        raise UpstreamError("The provider ended its answer without a reason.")
    whole = [block for block in blocks if _check_input(block, ended)]
    return {**message, "content": whole, **_stop(ended, refused=_refuses(pieces)), "usage": to_messages(counts)}


def _fill(block: dict[str, Any], said: str, state: str) -> None:
    match block["type"]:
        case "thinking":
            block["thinking"], block["signature"] = said, state
        case "tool_use":
            block["input"] = _object(said)
        case "text":
            block["text"] = said


def _check_input(block: dict[str, Any], ended: Ended) -> bool:
    """Whether a block can be given. A call that was cut cannot; any other must have an object as its input."""
    if block["type"] != "tool_use" or block["input"] is not None:
        return True
    if ended.reason in CUT:
        return False
    raise UpstreamError("The provider called a tool with arguments that are no JSON object.")


class MessagesStreamWriter:
    """Writes events."""

    def __init__(self, request: Mapping[str, Any], clock: Callable[[], float]) -> None:
        self._request = request
        self._index = -1
        self._type = ""
        self._said = ""
        self._incomplete = False
        self._refused = False
        self._counts = TokenCounts()
        self._began: Began | None = None
        self._started = False
        self._ended: Ended | None = None

    def write(self, piece: Piece) -> list[dict[str, Any]]:
        """The events for one piece."""
        match piece:
            case Began():
                self._began = piece
            case PartBegan():
                return self._start() + self._open(piece)
            case PartDelta():
                return [self._delta(piece.text)]
            case PartEnded():
                return self._close(piece)
            case Counted():
                self._counts = piece.counts
            case Ended():
                self._ended = piece
        return []

    def end(self) -> list[dict[str, Any]]:
        """Why the answer ended, with its usage."""
        if self._ended is None:
            raise UpstreamError("The provider ended its answer without a reason.")
        if self._incomplete and self._ended.reason not in CUT:
            raise UpstreamError("The provider called a tool with arguments that are no JSON object.")
        stop = _stop(self._ended, refused=self._refused)
        return [
            *self._start(),
            {"type": "message_delta", "delta": stop, "usage": to_messages(self._counts)},
            {"type": "message_stop"},
        ]

    def _start(self) -> list[dict[str, Any]]:
        """The beginning waits for the first part: what is counted before it belongs to it."""
        if self._started or self._began is None:
            return []
        self._started = True
        message = _message(self._began, self._request)
        stop = {"stop_reason": None, "stop_sequence": None}
        return [{"type": "message_start", "message": {**message, **stop, "usage": to_messages(self._counts)}}]

    def _open(self, part: PartBegan) -> list[dict[str, Any]]:
        self._index += 1
        self._said = ""
        self._refused |= part.kind == "refusal"
        block = _empty_block(part)
        self._type = block["type"]
        return [{"type": "content_block_start", "index": self._index, "content_block": block}]

    def _delta(self, text: str) -> dict[str, Any]:
        match self._type:
            case "thinking":
                delta = {"type": "thinking_delta", "thinking": text}
            case "tool_use":
                self._said += text
                delta = {"type": "input_json_delta", "partial_json": text}
            case _:
                delta = {"type": "text_delta", "text": text}
        return {"type": "content_block_delta", "index": self._index, "delta": delta}

    def _close(self, ended: PartEnded) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        if self._type == "thinking" and ended.state:
            delta = {"type": "signature_delta", "signature": ended.state}
            events.append({"type": "content_block_delta", "index": self._index, "delta": delta})
        if self._type == "tool_use" and _object(self._said) is None:
            self._incomplete = True
        return [*events, {"type": "content_block_stop", "index": self._index}]


def _message(began: Began, request: Mapping[str, Any]) -> dict[str, Any]:
    model = began.model or str(request.get("model") or "")
    return {"id": f"msg_{core(began.id)}", "type": "message", "role": "assistant", "model": model, "content": []}


def _empty_block(part: PartBegan) -> dict[str, Any]:
    match part.kind:
        case "reasoning":
            return {"type": "thinking", "thinking": "", "signature": ""}
        case "function_call":
            return {"type": "tool_use", "id": part.call_id, "name": part.name, "input": {}}
        case "custom_call":
            raise UpstreamError("The provider called a custom tool, which nobody gave it.")
    return {"type": "text", "text": ""}


def _object(arguments: str) -> dict[str, Any] | None:
    try:
        value = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _refuses(pieces: Sequence[Piece]) -> bool:
    return any(isinstance(piece, PartBegan) and piece.kind == "refusal" for piece in pieces)


def _stop(ended: Ended, *, refused: bool) -> dict[str, Any]:
    """A refusal that another dialect tells apart by its field, this one tells by its stop reason."""
    reason = "refusal" if refused and ended.reason == "stop" else ended.reason
    return {"stop_reason": _STOP[reason], "stop_sequence": ended.stop_sequence}
