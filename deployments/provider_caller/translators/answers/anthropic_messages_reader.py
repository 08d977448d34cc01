"""Reads answers of Anthropic's messages. Blocks of hosted tools are passed over: no other dialect can name them."""

from collections.abc import Mapping
from typing import Any

import orjson

from deployments.provider_caller.refusals import error_message
from deployments.provider_caller.translators.answers.pieces import (
    Began,
    Cited,
    Counted,
    Ended,
    PartBegan,
    PartDelta,
    PartEnded,
    Piece,
    StopReason,
    whole_part,
)
from deployments.provider_caller.translators.answers.token_counts import TokenCounts, from_messages
from deployments.provider_caller.translators.fields import Fields, provider_fields
from deployments.provider_caller.translators.reasoning_state import seal
from kit.errors import UpstreamError

_REASONS: dict[str, StopReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop_sequence",
    "max_tokens": "length",
    "model_context_window_exceeded": "context_window",
    "pause_turn": "pause",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}


def read_whole(content: Mapping[str, Any]) -> list[Piece]:
    """The pieces of a whole message. Raises UpstreamError."""
    message = provider_fields(content)
    _raise_stated_error(message)
    if message.text("type") != "message":
        raise message.wrong("type", "`message`")
    if not message.has("content"):
        raise message.wrong("content", "a list of blocks")
    pieces: list[Piece] = [_began(message)]
    for block in message.objects("content"):
        pieces += _whole_block(block)
    counts = from_messages(message.find_object("usage"))
    if counts:
        pieces.append(Counted(counts))
    return pieces + _ending(message)


def _whole_block(block: Fields) -> list[Piece]:
    match block.text("type"):
        case "text":
            text = block.text("text")
            citations = (_cited(citation, text) for citation in block.objects("citations"))
            return whole_part("text", text, cited=[cited for cited in citations if cited])
        case "thinking":
            state = seal("anthropic_thinking", block.find_text("signature") or "")
            return whole_part("reasoning", block.find_text("thinking") or "", state=state)
        case "redacted_thinking":
            return whole_part("reasoning", "", state=seal("anthropic_redacted", block.text("data")))
        case "tool_use":
            arguments = orjson.dumps(block.find_json("input") or {}).decode()
            return whole_part("function_call", arguments, call_id=block.text("id"), name=block.text("name"))
    return []


class MessagesStreamReader:
    """Reads the events of a message."""

    def __init__(self) -> None:
        self._began = False
        self._index: int | None = None
        self._block: _Block | None = None
        self._counts: TokenCounts | None = None
        self._ending: list[Piece] = []

    def read(self, event: Mapping[str, Any]) -> list[Piece]:
        """The pieces of one event. Raises UpstreamError."""
        fields = provider_fields(event)
        kind = fields.text("type")
        _raise_stated_error(fields)
        if kind == "message_start":
            return self._start(fields.object("message"))
        if not self._began and kind.startswith(("content_block", "message")):
            raise UpstreamError("The provider began its answer in the middle.")
        match kind:
            case "content_block_start":
                return self._close() + self._open(fields.integer("index"), fields.object("content_block"))
            case "content_block_delta":
                return self._delta(fields)
            case "content_block_stop":
                return self._close() if fields.integer("index") == self._index else []
            case "message_delta":
                self._ending = _ending(fields.object("delta"))
                self._counts = from_messages(fields.find_object("usage"), self._counts)
                return [Counted(self._counts)] if self._counts else []
        return []

    def end(self) -> list[Piece]:
        """The reason. Raises UpstreamError where none was given."""
        if not self._ending:
            raise UpstreamError("The provider ended its answer without a stop reason.")
        return self._close() + self._ending

    def _start(self, message: Fields) -> list[Piece]:
        if self._began:
            raise UpstreamError("The provider began its answer twice.")
        self._began = True
        self._counts = from_messages(message.find_object("usage"))
        return [_began(message), *([Counted(self._counts)] if self._counts else [])]

    def _open(self, index: int, block: Fields) -> list[Piece]:
        self._index = index
        self._block = _Block(block)
        return self._block.begin()

    def _delta(self, fields: Fields) -> list[Piece]:
        delta = fields.object("delta")
        if self._block is None or fields.integer("index") != self._index:
            raise UpstreamError("The provider went on with a part of its answer that is not open.")
        return self._block.delta(delta)

    def _close(self) -> list[Piece]:
        block, self._block, self._index = self._block, None, None
        return block.end() if block else []


class _Block:
    """The open block."""

    def __init__(self, start: Fields) -> None:
        self._start = start
        self._type = start.text("type")
        self._text = ""
        self._signature = ""
        self._citations: list[Fields] = []

    def begin(self) -> list[Piece]:
        """Some servers put a block's content into its start."""
        match self._type:
            case "text":
                return [PartBegan("text"), *self._say(self._start.find_text("text"))]
            case "thinking":
                self._signature = self._start.find_text("signature") or ""
                return [PartBegan("reasoning"), *self._say(self._start.find_text("thinking"))]
            case "redacted_thinking":
                return [PartBegan("reasoning")]
            case "tool_use":
                self._start.find_json("input")
                return [PartBegan("function_call", self._start.text("id"), self._start.text("name"))]
        return []

    def delta(self, delta: Fields) -> list[Piece]:
        kind = delta.text("type")
        match (self._type, kind):
            case ("text", "text_delta"):
                return self._say(delta.text("text"))
            case ("text", "citations_delta"):
                self._citations.append(delta.object("citation"))
            case ("thinking", "thinking_delta"):
                return self._say(delta.text("thinking"))
            case ("thinking", "signature_delta"):
                self._signature = delta.text("signature")
            case ("tool_use", "input_json_delta"):
                return self._say(delta.text("partial_json"))
        return []

    def end(self) -> list[Piece]:
        match self._type:
            case "text":
                citations = (_cited(citation, self._text) for citation in self._citations)
                return [*(cited for cited in citations if cited), PartEnded()]
            case "thinking":
                return [PartEnded(seal("anthropic_thinking", self._signature))]
            case "redacted_thinking":
                return [PartEnded(seal("anthropic_redacted", self._start.text("data")))]
            case "tool_use":
                rest = [] if self._text else self._say(orjson.dumps(self._start.find_json("input") or {}).decode())
                return [*rest, PartEnded()]
        return []

    def _say(self, text: str | None) -> list[Piece]:
        self._text += text or ""
        return [PartDelta(text)] if text else []


def _began(message: Fields) -> Began:
    return Began(message.find_text("id") or "", message.find_text("model") or "")


def _cited(citation: Fields, text: str) -> Cited | None:
    """A page that the text of a block cites. Places in the caller's own documents have no address."""
    if citation.find_text("type") != "web_search_result_location":
        return None
    return Cited(citation.text("url"), citation.find_text("title") or "", 0, len(text))


def _ending(stated: Fields) -> list[Piece]:
    """The reason, and what Anthropic says of a refusal."""
    reason = stated.find_text("stop_reason")
    if reason is None:
        return []
    details = stated.find_object("stop_details")
    explanation = details.find_text("explanation") if details and reason == "refusal" else None
    spoken = whole_part("refusal", explanation) if explanation else []
    return [*spoken, Ended(_REASONS.get(reason, "stop"), stated.find_text("stop_sequence"))]


def _raise_stated_error(fields: Fields) -> None:
    if fields.content.get("type") == "error":
        message = error_message(fields.content.get("error")) or "it gave no reason"
        raise UpstreamError(f"The provider failed: {message}.")
