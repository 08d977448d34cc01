"""Reads answers of OpenAI's responses. Items of hosted tools are passed over: no other dialect can name them."""

from collections.abc import Mapping
from typing import Any

from deployments.provider_caller.refusals import error_message
from deployments.provider_caller.translators.answers.pieces import (
    Began,
    Cited,
    Counted,
    Ended,
    PartBegan,
    PartDelta,
    Piece,
    StopReason,
    whole_part,
)
from deployments.provider_caller.translators.answers.sequencer import Sequencer
from deployments.provider_caller.translators.answers.token_counts import from_responses
from deployments.provider_caller.translators.fields import LARGEST_COUNT, Fields, provider_fields
from deployments.provider_caller.translators.reasoning_state import seal
from kit.errors import UpstreamError

PARAGRAPH = "\n\n"
"""Between the parts of a summary of reasoning."""

_INCOMPLETE: dict[str, StopReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}


def read_whole(content: Mapping[str, Any]) -> list[Piece]:
    """The pieces of a whole response. Raises UpstreamError, also for one that is not finished."""
    response = provider_fields(content)
    if not response.has("output"):
        _raise_failure(response)
        raise response.wrong("output", "a list of items")
    items = response.objects("output")
    pieces: list[Piece] = [_began(response)]
    for item in items:
        pieces += _whole_item(item)
    called = any(isinstance(piece, PartBegan) and piece.kind.endswith("_call") for piece in pieces)
    return pieces + _ending(response, called=called)


def _whole_item(item: Fields) -> list[Piece]:
    match item.text("type"):
        case "message":
            return [piece for part in item.objects("content") for piece in _whole_part(part)]
        case "reasoning":
            texts = [part.text("text") for part in item.objects("summary")]
            texts = texts or [part.text("text") for part in item.objects("content")]
            return whole_part("reasoning", PARAGRAPH.join(texts), state=_reasoning_state(item))
        case "function_call":
            arguments = item.find_text("arguments") or "{}"
            return whole_part("function_call", arguments, call_id=item.text("call_id"), name=item.text("name"))
        case "custom_tool_call":
            return whole_part(
                "custom_call", item.find_text("input") or "", call_id=item.text("call_id"), name=item.text("name")
            )
    return []


def _whole_part(part: Fields) -> list[Piece]:
    match part.text("type"):
        case "output_text":
            citations = (_cited(annotation) for annotation in part.objects("annotations"))
            return whole_part("text", part.text("text"), cited=[cited for cited in citations if cited])
        case "refusal":
            return whole_part("refusal", part.text("refusal"))
    return []


class ResponsesStreamReader:
    """Reads the events of a response. Items end with `output_item.done`, whatever else announces their end."""

    def __init__(self) -> None:
        self._began = False
        self._parts = Sequencer()
        self._spoken: set[int] = set()
        self._called = False
        self._ending: list[Piece] = []

    def read(self, event: Mapping[str, Any]) -> list[Piece]:
        """The pieces of one event. Raises UpstreamError."""
        fields = provider_fields(event)
        kind = fields.text("type")
        match kind:
            case "error":
                raise _failure(fields.content.get("error") or fields.content)
            case "response.failed":
                raise _failure(fields.object("response").content.get("error"))
            case "response.created":
                return self._begin(fields.object("response"))
        if not self._began:
            return [] if kind == "response.queued" or not kind.startswith("response.") else self._raise_middle()
        match kind:
            case "response.completed" | "response.incomplete":
                pieces = self._parts.end_all()
                self._ending = _ending(fields.object("response"), called=self._called)
                return pieces
            case "response.output_item.added":
                return self._item(fields.integer("output_index"), fields.object("item"))
            case "response.output_item.done":
                return self._item_done(fields.integer("output_index"), fields.object("item"))
            case "response.content_part.added":
                return self._part(fields)
            case "response.content_part.done":
                return self._parts.end((fields.integer("output_index"), fields.integer("content_index")))
            case "response.output_text.delta" | "response.refusal.delta":
                key = (fields.integer("output_index"), fields.integer("content_index"))
                return self._parts.add(key, PartDelta(fields.text("delta")))
            case "response.output_text.annotation.added":
                return self._annotation(fields)
            case "response.reasoning_summary_part.added":
                return self._summary_part(fields.integer("output_index"))
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                return self._say(fields)
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                return self._say(fields)
        return []

    def end(self) -> list[Piece]:
        """The counts and the reason. Raises UpstreamError where the response has not ended."""
        if not self._ending:
            raise UpstreamError("The provider ended its answer before it was complete.")
        return self._ending

    def _begin(self, response: Fields) -> list[Piece]:
        if self._began:
            raise UpstreamError("The provider began its answer twice.")
        self._began = True
        return [_began(response)]

    def _raise_middle(self) -> list[Piece]:
        raise UpstreamError("The provider began its answer in the middle.")

    def _item(self, index: int, item: Fields) -> list[Piece]:
        match item.text("type"):
            case "reasoning":
                return self._parts.begin(index, PartBegan("reasoning"))
            case "function_call":
                self._called = True
                return self._parts.begin(index, PartBegan("function_call", item.text("call_id"), item.text("name")))
            case "custom_tool_call":
                self._called = True
                return self._parts.begin(index, PartBegan("custom_call", item.text("call_id"), item.text("name")))
        return []

    def _item_done(self, index: int, item: Fields) -> list[Piece]:
        if index not in self._parts:
            return []
        rest: list[Piece] = []
        if index not in self._spoken:
            # An item may come without deltas.
            whole = _whole_item(item)
            rest = [piece for delta in whole if isinstance(delta, PartDelta) for piece in self._parts.add(index, delta)]
        state = _reasoning_state(item) if item.text("type") == "reasoning" else ""
        return rest + self._parts.end(index, state)

    def _part(self, fields: Fields) -> list[Piece]:
        key = (fields.integer("output_index"), fields.integer("content_index"))
        match fields.object("part").text("type"):
            case "output_text":
                return self._parts.begin(key, PartBegan("text"))
            case "refusal":
                return self._parts.begin(key, PartBegan("refusal"))
        return []

    def _annotation(self, fields: Fields) -> list[Piece]:
        annotation = fields.find_object("annotation")
        cited = _cited(annotation) if annotation else None
        key = (fields.integer("output_index"), fields.integer("content_index"))
        return self._parts.add(key, cited) if cited else []

    def _summary_part(self, index: int) -> list[Piece]:
        return self._parts.add(index, PartDelta(PARAGRAPH)) if index in self._spoken else []

    def _say(self, fields: Fields) -> list[Piece]:
        index = fields.integer("output_index")
        self._spoken.add(index)
        return self._parts.add(index, PartDelta(fields.text("delta")))


def _began(response: Fields) -> Began:
    created = response.find_number("created_at")
    known = created is not None and 0 <= created <= LARGEST_COUNT
    return Began(
        response.find_text("id") or "", response.find_text("model") or "", int(created) if created and known else None
    )


def _reasoning_state(item: Fields) -> str:
    """The encrypted reasoning and the item's id, which OpenAI wants back together."""
    encrypted = item.find_text("encrypted_content")
    return seal("openai_reasoning", f"{item.text('id')}:{encrypted}") if encrypted else ""


def _cited(annotation: Fields) -> Cited | None:
    if annotation.find_text("type") != "url_citation":
        return None
    return Cited(
        annotation.text("url"),
        annotation.find_text("title") or "",
        annotation.count("start_index"),
        annotation.count("end_index"),
    )


def _ending(response: Fields, *, called: bool) -> list[Piece]:
    """The counts and the reason."""
    _raise_failure(response)
    counts = from_responses(response.find_object("usage"))
    counted: list[Piece] = [Counted(counts)] if counts else []
    status = response.find_text("status") or "completed"
    if status == "incomplete":
        details = response.find_object("incomplete_details")
        reason = details.find_text("reason") if details else None
        return [*counted, Ended(_INCOMPLETE.get(reason or "", "length"))]
    if status != "completed":
        raise UpstreamError(f"The provider answered with a response that is {status[:40]}, not completed.")
    return [*counted, Ended("tool_calls" if called else "stop")]


def _raise_failure(response: Fields) -> None:
    if response.content.get("error") or response.content.get("status") == "failed":
        raise _failure(response.content.get("error"))


def _failure(stated: Any) -> UpstreamError:
    return UpstreamError(f"The provider failed: {error_message(stated) or 'it gave no reason'}.")
