"""The items of a response while they are being written: each makes the events of its kind, in OpenAI's order."""

from typing import Any, Protocol

from deployments.provider_caller.translators.answers.identifiers import part_id
from deployments.provider_caller.translators.answers.pieces import Cited, PartBegan, PartKind

Event = dict[str, Any]


class Item(Protocol):
    """An open item. `done` is the item as it was last announced."""

    done: dict[str, Any]

    def begin(self) -> list[Event]:
        """It appears."""
        ...

    def delta(self, text: str) -> list[Event]:
        """More of it."""
        ...

    def cite(self, cited: Cited) -> list[Event]:
        """Its text cites a page."""
        ...

    def end_part(self, state: str) -> list[Event]:
        """What it said last is complete. state: sealed, of reasoning."""
        ...

    def end(self, status: str) -> list[Event]:
        """It is complete, or incomplete for good."""
        ...


def open_item(part: PartBegan, answer: str, position: int) -> Item:
    """The item that a part begins. answer: the core of the response's id."""
    match part.kind:
        case "reasoning":
            return ReasoningItem(part_id("rs_", answer, position), position)
        case "function_call":
            return CallItem(part_id("fc_", answer, position), position, part)
        case "custom_call":
            return CallItem(part_id("ctc_", answer, position), position, part)
    return MessageItem(part_id("msg_", answer, position), position, part.kind)


class MessageItem:
    """Text and refusals."""

    def __init__(self, id: str, position: int, kind: PartKind) -> None:
        self._first = kind
        self._kind = kind
        self._id = id
        self._place: dict[str, Any] = {}
        self._position = position
        self._text = ""
        self._annotations: list[dict[str, Any]] = []
        self._content: list[dict[str, Any]] = []
        self.done = self._item("in_progress")

    def begin(self) -> list[Event]:
        """It appears, with its first part."""
        added = {"type": "response.output_item.added", "output_index": self._position, "item": self.done}
        return [added, *self.open_part(self._first)]

    def open_part(self, kind: PartKind) -> list[Event]:
        """One more part."""
        self._kind = kind
        self._text = ""
        self._annotations = []
        self._place = {"item_id": self._id, "output_index": self._position, "content_index": len(self._content)}
        return [{"type": "response.content_part.added", **self._place, "part": self._part()}]

    def delta(self, text: str) -> list[Event]:
        """More of the open part."""
        self._text += text
        if self._kind == "refusal":
            return [{"type": "response.refusal.delta", **self._place, "delta": text}]
        return [{"type": "response.output_text.delta", **self._place, "delta": text, "logprobs": []}]

    def cite(self, cited: Cited) -> list[Event]:
        """The open part cites a page."""
        annotation = {
            "type": "url_citation",
            "url": cited.url,
            "title": cited.title,
            "start_index": cited.start,
            "end_index": cited.end,
        }
        index = len(self._annotations)
        self._annotations.append(annotation)
        kind = "response.output_text.annotation.added"
        return [{"type": kind, **self._place, "annotation_index": index, "annotation": annotation}]

    def end_part(self, state: str) -> list[Event]:
        """The open part is complete."""
        part = self._part()
        self._content.append(part)
        if self._kind == "refusal":
            done = {"type": "response.refusal.done", **self._place, "refusal": self._text}
        else:
            done = {"type": "response.output_text.done", **self._place, "text": self._text, "logprobs": []}
        return [done, {"type": "response.content_part.done", **self._place, "part": part}]

    def end(self, status: str) -> list[Event]:
        """The message is complete."""
        self.done = self._item(status)
        return [{"type": "response.output_item.done", "output_index": self._position, "item": self.done}]

    def _part(self) -> dict[str, Any]:
        if self._kind == "refusal":
            return {"type": "refusal", "refusal": self._text}
        return {"type": "output_text", "text": self._text, "annotations": self._annotations, "logprobs": []}

    def _item(self, status: str) -> dict[str, Any]:
        content = list(self._content)
        return {"id": self._id, "type": "message", "role": "assistant", "status": status, "content": content}


class ReasoningItem:
    """Reasoning, given as its summary. `encrypted_content` is what the provider wants back with it."""

    def __init__(self, id: str, position: int) -> None:
        self._id = id
        self._position = position
        self._place = {"item_id": id, "output_index": position, "summary_index": 0}
        self._text = ""
        self.done: dict[str, Any] = {"id": id, "type": "reasoning", "summary": []}

    def begin(self) -> list[Event]:
        """It appears."""
        return [{"type": "response.output_item.added", "output_index": self._position, "item": self.done}]

    def delta(self, text: str) -> list[Event]:
        """More of the summary."""
        part = {"type": "summary_text", "text": ""}
        added = {"type": "response.reasoning_summary_part.added", **self._place, "part": part}
        opening = [] if self._text else [added]
        self._text += text
        return [*opening, {"type": "response.reasoning_summary_text.delta", **self._place, "delta": text}]

    def cite(self, cited: Cited) -> list[Event]:
        """Reasoning cites nothing that a caller could be shown."""
        return []

    def end_part(self, state: str) -> list[Event]:
        """The summary is complete."""
        self.done = {"id": self._id, "type": "reasoning", "summary": []}
        if state:
            self.done["encrypted_content"] = state
        if not self._text:
            return []
        part = {"type": "summary_text", "text": self._text}
        self.done["summary"] = [part]
        return [
            {"type": "response.reasoning_summary_text.done", **self._place, "text": self._text},
            {"type": "response.reasoning_summary_part.done", **self._place, "part": part},
        ]

    def end(self, status: str) -> list[Event]:
        """The item is complete."""
        return [{"type": "response.output_item.done", "output_index": self._position, "item": self.done}]


class CallItem:
    """A call of a function or of a custom tool."""

    def __init__(self, id: str, position: int, part: PartBegan) -> None:
        custom = part.kind == "custom_call"
        self._payload = "input" if custom else "arguments"
        self._events = "response.custom_tool_call_input" if custom else "response.function_call_arguments"
        self._place = {"item_id": id, "output_index": position}
        self._position = position
        kind = "custom_tool_call" if custom else "function_call"
        self._head = {"id": id, "type": kind, "call_id": part.call_id, "name": part.name}
        self._said = ""
        self.done = self._item("in_progress")

    def begin(self) -> list[Event]:
        """It appears, without what it is called with."""
        return [{"type": "response.output_item.added", "output_index": self._position, "item": self.done}]

    def delta(self, text: str) -> list[Event]:
        """More of what it is called with."""
        self._said += text
        return [{"type": f"{self._events}.delta", **self._place, "delta": text}]

    def cite(self, cited: Cited) -> list[Event]:
        """A call cites nothing."""
        return []

    def end_part(self, state: str) -> list[Event]:
        """What it is called with is complete."""
        return [{"type": f"{self._events}.done", **self._place, self._payload: self._said}]

    def end(self, status: str) -> list[Event]:
        """The item is complete."""
        self.done = self._item(status)
        return [{"type": "response.output_item.done", "output_index": self._position, "item": self.done}]

    def _item(self, status: str) -> dict[str, Any]:
        return {**self._head, self._payload: self._said, "status": status}
