"""Reads answers of OpenAI's chat completions, and of the many servers that speak them with small differences.

Reasoning is in `reasoning_content` or `reasoning`; OpenAI itself keeps it.
"""

from collections.abc import Hashable, Mapping
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
    PartKind,
    Piece,
    StopReason,
    whole_part,
)
from deployments.provider_caller.translators.answers.sequencer import Sequencer
from deployments.provider_caller.translators.answers.token_counts import from_chat
from deployments.provider_caller.translators.fields import Fields, provider_fields
from kit.errors import UpstreamError

_REASONS: dict[str, StopReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_TEXTS: tuple[tuple[str, PartKind], ...] = (
    ("reasoning_content", "reasoning"),
    ("reasoning", "reasoning"),
    ("content", "text"),
    ("refusal", "refusal"),
)
"""Where texts stand in a message or delta, in the order in which they are said."""


def read_whole(content: Mapping[str, Any]) -> list[Piece]:
    """The pieces of a whole completion. Raises UpstreamError."""
    fields = provider_fields(content)
    _raise_stated_error(fields)
    choice = next(iter(fields.objects("choices")), None)
    if choice is None:
        raise fields.wrong("choices", "a list with a choice")
    message = choice.object("message")
    pieces: list[Piece] = [_began(fields)]
    for kind, text in _texts(message):
        pieces += whole_part(kind, text, cited=_citations(message) if kind == "text" else ())
    calls = message.objects("tool_calls")
    for position, call in enumerate(calls):
        kind, name, arguments = _called(call)
        call_id = call.find_text("id") or f"call_{position}"
        pieces += whole_part(kind, arguments or _empty(kind), call_id=call_id, name=name)
    counts = from_chat(fields.find_object("usage"))
    if counts:
        pieces.append(Counted(counts))
    pieces.append(Ended(_reason(choice.text("finish_reason"), called=bool(calls))))
    return pieces


class ChatStreamReader:
    """Reads chunks."""

    def __init__(self) -> None:
        self._began = False
        self._parts = Sequencer()
        self._said = 0
        self._calls: list[_Call] = []
        self._finish: str | None = None

    def read(self, event: Mapping[str, Any]) -> list[Piece]:
        """The pieces of one chunk. Raises UpstreamError."""
        chunk = provider_fields(event)
        _raise_stated_error(chunk)
        pieces: list[Piece] = []
        if not self._began:
            self._began = True
            pieces.append(_began(chunk))
        for choice in chunk.objects("choices"):
            if choice.count("index") == 0:
                pieces += self._choice(choice)
        counts = from_chat(chunk.find_object("usage"))
        if counts:
            pieces.append(Counted(counts))
        return pieces

    def end(self) -> list[Piece]:
        """What was held, and the reason. Raises UpstreamError where none was given."""
        if self._finish is None:
            raise UpstreamError("The provider ended its answer without a finish reason.")
        pieces: list[Piece] = []
        for call in self._calls:
            pieces += self._end_call(call)
        pieces += self._parts.end_all()
        return [*pieces, Ended(_reason(self._finish, called=bool(self._calls)))]

    def _choice(self, choice: Fields) -> list[Piece]:
        pieces: list[Piece] = []
        delta = choice.find_object("delta")
        if delta:
            for kind, text in _texts(delta):
                pieces += self._text(kind, text)
            for call in delta.objects("tool_calls"):
                pieces += self._call(call)
            pieces += self._cite(_citations(delta))
        self._finish = choice.find_text("finish_reason") or self._finish
        return pieces

    def _text(self, kind: PartKind, text: str) -> list[Piece]:
        key = (kind, self._said)
        pieces: list[Piece] = []
        if key not in self._parts:
            pieces += self._end_texts()
            self._said += 1
            key = (kind, self._said)
            pieces += self._parts.begin(key, PartBegan(kind))
            pieces += self._end_complete_calls()
        return pieces + self._parts.add(key, PartDelta(text))

    def _cite(self, cited: list[Cited]) -> list[Piece]:
        key = ("text", self._said)
        if key not in self._parts:
            return []
        return [piece for citation in cited for piece in self._parts.add(key, citation)]

    def _call(self, stated: Fields) -> list[Piece]:
        pieces: list[Piece] = []
        call = self._find_call(stated)
        if call is None:
            kind, name, _ = _called(stated)
            call = _Call(
                kind=kind,
                index=stated.find_integer("index"),
                id=stated.find_text("id") or f"call_{len(self._calls)}",
                position=len(self._calls),
            )
            self._calls.append(call)
            pieces += self._end_texts()
            pieces += self._parts.begin(call.key, PartBegan(kind, call.id, name))
            pieces += self._end_complete_calls()
        more = stated.find_object("custom" if call.kind == "custom_call" else "function")
        arguments = more.find_text("input" if call.kind == "custom_call" else "arguments") if more else None
        if arguments:
            call.arguments += arguments
            pieces += self._parts.add(call.key, PartDelta(arguments))
            pieces += self._end_complete_calls()
        return pieces

    def _find_call(self, stated: Fields) -> "_Call | None":
        """The call that a delta goes on with. Some servers count every parallel call as 0, and some count nothing."""
        index, call_id = stated.find_integer("index"), stated.find_text("id")
        if call_id:
            return next((call for call in self._calls if call.id == call_id), None)
        if index is not None:
            return next((call for call in reversed(self._calls) if call.index == index), None)
        function = stated.find_object("function")
        named = function is not None and function.has("name")
        return None if named or not self._calls else self._calls[-1]

    def _end_texts(self) -> list[Piece]:
        pieces: list[Piece] = []
        for kind in ("text", "reasoning", "refusal"):
            pieces += self._parts.end((kind, self._said))
        return pieces

    def _end_complete_calls(self) -> list[Piece]:
        """While others wait for a call, it ends as soon as its arguments are whole."""
        pieces: list[Piece] = []
        while self._parts.waiting:
            first = next((call for call in self._calls if call.key == self._parts.first), None)
            if first is None or not first.complete:
                break
            pieces += self._end_call(first)
        return pieces

    def _end_call(self, call: "_Call") -> list[Piece]:
        if call.key not in self._parts:
            return []
        empty = _empty(call.kind)
        nothing = [] if call.arguments or not empty else self._parts.add(call.key, PartDelta(empty))
        return nothing + self._parts.end(call.key)


class _Call:
    """A tool call as far as it has come."""

    __slots__ = ("arguments", "id", "index", "kind", "position")

    def __init__(self, kind: PartKind, index: int | None, id: str, position: int) -> None:
        self.kind = kind
        self.index = index
        self.id = id
        self.position = position
        self.arguments = ""

    @property
    def key(self) -> Hashable:
        return ("call", self.position)

    @property
    def complete(self) -> bool:
        """Whether the arguments are a JSON object already. Of a custom tool's input nobody can tell."""
        if self.kind == "custom_call":
            return False
        try:
            return isinstance(orjson.loads(self.arguments), dict)
        except orjson.JSONDecodeError:
            return False


def _began(fields: Fields) -> Began:
    return Began(fields.find_text("id") or "", fields.find_text("model") or "", fields.find_integer("created"))


def _texts(message: Fields) -> list[tuple[PartKind, str]]:
    texts = []
    for name, kind in _TEXTS:
        if name == "reasoning" and message.has("reasoning_content"):
            continue
        text = message.find_text(name)
        if text:
            texts.append((kind, text))
    return texts


def _called(call: Fields) -> tuple[PartKind, str, str]:
    """Kind, name and arguments of a tool call."""
    if call.find_text("type") == "custom":
        custom = call.object("custom")
        return "custom_call", custom.text("name"), custom.find_text("input") or ""
    function = call.object("function")
    return "function_call", function.text("name"), function.find_text("arguments") or ""


def _empty(kind: PartKind) -> str:
    return "{}" if kind == "function_call" else ""


def _citations(message: Fields) -> list[Cited]:
    cited = []
    for annotation in message.objects("annotations"):
        if annotation.find_text("type") == "url_citation":
            citation = annotation.object("url_citation")
            cited.append(
                Cited(
                    citation.text("url"),
                    citation.find_text("title") or "",
                    citation.count("start_index"),
                    citation.count("end_index"),
                )
            )
    return cited


def _reason(stated: str, *, called: bool) -> StopReason:
    """Servers say `stop` also of an answer that calls tools; OpenAI does where the tool was chosen by the caller."""
    reason = _REASONS.get(stated, "stop")
    return "tool_calls" if called and reason == "stop" else reason


def _raise_stated_error(fields: Fields) -> None:
    error = fields.content.get("error")
    if error:
        raise UpstreamError(f"The provider failed: {error_message(error) or 'it gave no reason'}.")
