"""Writes answers as OpenAI's chat completions and their chunks.

Reasoning goes into `reasoning_content`, as DeepSeek and vLLM do. Where an answer calls tools, `thinking_blocks` carry
what the provider wants back with the results (see reasoning_state).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deployments.provider_caller.translators.answers.identifiers import core
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
)
from deployments.provider_caller.translators.answers.token_counts import TokenCounts, to_chat
from kit.errors import UpstreamError

_FINISH: dict[StopReason, str] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "context_window": "length",
    "pause": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
}
_TEXT_FIELD = {"text": "content", "refusal": "refusal", "reasoning": "reasoning_content"}


def write_whole(pieces: Sequence[Piece], request: Mapping[str, Any], clock: Callable[[], float]) -> dict[str, Any]:
    """A whole completion."""
    answer = _Answer(request, clock)
    texts: dict[str, str] = {}
    calls: list[dict[str, Any]] = []
    for piece in pieces:
        for delta in answer.see(piece):
            for call in delta.pop("tool_calls", ()):
                _add_call(calls, call)
            for name, text in delta.items():
                texts[name] = texts.get(name, "") + text
    message = {"role": "assistant", "content": None, "refusal": None, **texts, **answer.late_fields()}
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}
    usage = {"usage": to_chat(answer.counts)} if answer.counts else {}
    return {**answer.head("chat.completion"), "choices": [choice], **usage}


def _add_call(calls: list[dict[str, Any]], delta: dict[str, Any]) -> None:
    if delta.pop("index") == len(calls):
        calls.append(delta)
    elif "custom" in delta:
        calls[-1]["custom"]["input"] += delta["custom"]["input"]
    else:
        calls[-1]["function"]["arguments"] += delta["function"]["arguments"]


class ChatStreamWriter:
    """Writes chunks."""

    def __init__(self, request: Mapping[str, Any], clock: Callable[[], float]) -> None:
        options = request.get("stream_options")
        self._include_usage = isinstance(options, dict) and options.get("include_usage") is True
        self._answer = _Answer(request, clock)
        self._spoke = False

    def write(self, piece: Piece) -> list[dict[str, Any]]:
        """The chunks for one piece."""
        return [self._chunk(delta) for delta in self._answer.see(piece)]

    def end(self) -> list[dict[str, Any]]:
        """The finish, and the usage where it was asked for and is known."""
        late = self._answer.late_fields()
        chunks = [self._chunk(late)] if late else []
        chunks.append(self._chunk({}, self._answer.finish_reason))
        if self._include_usage and self._answer.counts:
            head = self._answer.head("chat.completion.chunk")
            chunks.append({**head, "choices": [], "usage": to_chat(self._answer.counts)})
        return chunks

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        if not self._spoke:
            self._spoke = True
            delta = {"role": "assistant", **delta}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        usage = {"usage": None} if self._include_usage else {}
        return {**self._answer.head("chat.completion.chunk"), "choices": [choice], **usage}


@dataclass(slots=True)
class _Answer:
    """What is known of the answer so far."""

    request: Mapping[str, Any]
    clock: Callable[[], float]
    counts: TokenCounts | None = None
    _head: dict[str, Any] = field(default_factory=dict)
    _part: PartBegan | None = None
    _calls: int = 0
    _characters: int = 0
    _part_start: int = 0
    _reasoning: str = ""
    _citations: list[dict[str, Any]] = field(default_factory=list)
    _states: list[dict[str, Any]] = field(default_factory=list)
    _ended: Ended | None = None

    def see(self, piece: Piece) -> list[dict[str, Any]]:
        """The deltas that a piece makes."""
        match piece:
            case Began():
                self._begin(piece)
            case PartBegan():
                self._part = piece
                self._part_start = self._characters
                if piece.kind.endswith("_call"):
                    self._calls += 1
                    return [{"tool_calls": [_begun_call(piece, self._calls - 1)]}]
            case PartDelta():
                return [self._delta(piece.text)]
            case Cited():
                self._citations.append(self._citation(piece))
            case PartEnded():
                self._end_part(piece)
            case Counted():
                self.counts = piece.counts
            case Ended():
                self._ended = piece
        return []

    @property
    def finish_reason(self) -> str:
        """Raises UpstreamError where the answer has not ended."""
        if self._ended is None:
            raise UpstreamError("The provider ended its answer without a reason.")
        return _FINISH[self._ended.reason]

    def head(self, kind: str) -> dict[str, Any]:
        """The fields that every chunk repeats."""
        return {**self._head, "object": kind}

    def late_fields(self) -> dict[str, Any]:
        """Fields of the message that are known when it is complete."""
        fields: dict[str, Any] = {}
        if self._citations:
            fields["annotations"] = self._citations
        if self._states and self._calls:
            fields["thinking_blocks"] = self._states
        return fields

    def _begin(self, began: Began) -> None:
        created = int(self.clock()) if began.created is None else began.created
        model = began.model or str(self.request.get("model") or "")
        self._head = {"id": f"chatcmpl-{core(began.id)}", "created": created, "model": model}

    def _delta(self, text: str) -> dict[str, Any]:
        assert self._part is not None
        if self._part.kind == "function_call":
            return {"tool_calls": [{"index": self._calls - 1, "function": {"arguments": text}}]}
        if self._part.kind == "custom_call":
            return {"tool_calls": [{"index": self._calls - 1, "custom": {"input": text}}]}
        if self._part.kind == "text":
            self._characters += len(text)
        elif self._part.kind == "reasoning":
            self._reasoning += text
        return {_TEXT_FIELD[self._part.kind]: text}

    def _citation(self, cited: Cited) -> dict[str, Any]:
        place = {"start_index": self._part_start + cited.start, "end_index": self._part_start + cited.end}
        return {"type": "url_citation", "url_citation": {"url": cited.url, "title": cited.title, **place}}

    def _end_part(self, ended: PartEnded) -> None:
        if ended.state:
            self._states.append({"type": "thinking", "thinking": self._reasoning, "signature": ended.state})
        self._reasoning = ""
        self._part = None


def _begun_call(part: PartBegan, index: int) -> dict[str, Any]:
    if part.kind == "custom_call":
        return {"index": index, "id": part.call_id, "type": "custom", "custom": {"name": part.name, "input": ""}}
    function = {"name": part.name, "arguments": ""}
    return {"index": index, "id": part.call_id, "type": "function", "function": function}
